"""Retirement: no wrong removal, and none missed that is due."""

from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mayfly.domain.retirement import Ami, Image, RetirementPolicy, Stage, Step, Usage, decide_retirement, limit, steps
from tests.unit.gallery import NOW, POLICY, gallery

UNUSED = Usage()


def an_image(name="ami-1", days=100.0, *, stage=Stage.AVAILABLE, since_days=100.0, rejected=False, **more):
    ami = Ami(name, "222222222222", "us-east-1", stage, NOW - timedelta(days=since_days), **more)
    return Image(name, "base", NOW - timedelta(days=days), rejected, (ami,))


def step_of(image, policy=None, needed=None, usage=UNUSED):
    """What becomes of one image that is not among the newest."""
    policy = policy or RetirementPolicy(keep_newest=0)
    (decision,) = decide_retirement(NOW, [image], policy, needed or {}, {image.id: usage} if usage else {})
    return decision.step, decision.reason


class TestStages:
    @pytest.mark.parametrize(
        ("stage", "wait", "step"),
        [
            (Stage.AVAILABLE, 30, Step.DEPRECATE),
            (Stage.DEPRECATED, 14, Step.DISABLE),
            (Stage.DISABLED, 30, Step.DEREGISTER),
        ],
    )
    def test_each_waits_its_own_time(self, stage, wait, step):
        early = an_image(days=wait - 0.01, stage=stage, since_days=wait - 0.01)
        due = an_image(days=wait, stage=stage, since_days=wait)
        assert step_of(early)[0] is Step.KEEP
        assert step_of(due)[0] is step

    def test_what_somebody_else_disabled_is_not_deregistered(self):
        image = an_image()
        ami = Ami("ami-1", "2", "us-east-1", Stage.DISABLED, None)
        step, reason = step_of(Image(image.id, "base", image.made_at, False, (ami,)))
        assert step is Step.KEEP
        assert "somebody else" in reason


class TestWhatIsKept:
    def test_the_newest_are_and_a_rejected_one_is_none_of_them(self):
        images = [an_image(f"ami-{n}", days=100 + n, rejected=n == 0) for n in range(4)]
        decided = decide_retirement(
            NOW, images, RetirementPolicy(keep_newest=2), {}, {image.id: UNUSED for image in images}
        )
        assert [each.step for each in decided] == [Step.DEPRECATE, Step.KEEP, Step.KEEP, Step.DEPRECATE]

    def test_what_a_channel_needs_is(self):
        assert step_of(an_image(), needed={"ami-1": "stable points to it"}) == (Step.KEEP, "stable points to it")

    def test_what_is_used_is_by_name_of_what_uses_it(self):
        step, reason = step_of(an_image(), usage=Usage(uses=("launch template web:3",)))
        assert step is Step.KEEP
        assert reason == "in use by launch template web:3 (us-east-1)"

    def test_what_nobody_could_look_at_is(self):
        assert step_of(an_image(), usage=Usage(unknown=("parameters: AccessDenied",)))[0] is Step.KEEP
        assert step_of(an_image(), usage=None)[0] is Step.KEEP

    def test_what_is_protected_is(self):
        assert step_of(an_image(protected="it is protected by its tag"))[0] is Step.KEEP

    @pytest.mark.parametrize("stage", [Stage.DEPRECATED, Stage.DISABLED])
    def test_what_is_used_after_all_is_brought_back(self, stage):
        assert step_of(an_image(stage=stage), usage=Usage(uses=("instance i-1",)))[0] is Step.RESTORE

    @pytest.mark.parametrize("stage", [Stage.DEPRECATED, Stage.DISABLED])
    def test_what_is_unknown_is_left_where_it_is(self, stage):
        assert step_of(an_image(stage=stage), usage=Usage(unknown=("x",)))[0] is Step.KEEP

    def test_a_use_of_one_copy_keeps_them_all(self):
        home, copy = (an_image(name).amis[0] for name in ("ami-1", "ami-2"))
        image = Image("ami-1", "base", NOW - timedelta(days=100), False, (home, copy))
        usage = {"ami-1": UNUSED, "ami-2": Usage(uses=("instance i-1",))}
        decided = decide_retirement(NOW, [image], RetirementPolicy(keep_newest=0), {}, usage)
        assert {each.step for each in decided} == {Step.KEEP}


class TestCaps:
    def test_let_the_oldest_go_first_and_copies_before_their_original(self):
        images = [an_image("ami-1", days=50), an_image("ami-2", days=90)]
        copy = an_image("ami-0-copy").amis[0]
        images[1] = Image("ami-2", "base", images[1].made_at, False, (*images[1].amis, copy))
        usage = {"ami-1": UNUSED, "ami-2": UNUSED, "ami-0-copy": UNUSED}
        ordered = steps(decide_retirement(NOW, images, RetirementPolicy(keep_newest=0), {}, usage))
        taken, later = limit(ordered, 2)
        assert [each.ami.id for each in taken] == ["ami-0-copy", "ami-2"]
        assert [each.ami.id for each in later] == ["ami-1"]


def check(made):
    """Every decision about a gallery is the expected one; how many of each."""
    decided = decide_retirement(NOW, made.images, POLICY, made.needed, made.usage)
    assert len(decided) == len(made.expected)
    wrong = [(made.kinds[each.image], each) for each in decided if each.step is not made.expected[each.ami.id]]
    assert not wrong, wrong[:3]
    assert all(each.reason for each in decided)
    return Counter(each.step for each in decided)


class TestGalleries:
    """Every kind of use, of stage and of doubt, drawn at random; what is expected follows from how it was drawn."""

    @settings(max_examples=15, deadline=None)
    @given(count=st.integers(2000, 2500), seed=st.integers(0, 2**32))
    def test_of_two_thousand_images_no_one_is_removed_that_must_stay_and_none_missed_that_is_due(self, count, seed):
        found = check(gallery(count, seed))
        assert all(found[step] for step in Step), found

    @settings(max_examples=200, deadline=None)
    @given(count=st.integers(1, 30), seed=st.integers(0, 2**32))
    def test_of_a_few_images_neither(self, count, seed):
        check(gallery(count, seed))

    def test_run_after_run_all_that_is_free_goes_and_nothing_else(self):
        """Two thousand images, a run every day for four months, with a cap: what is left is what must be kept."""
        made, policy, most = gallery(2000, seed=7), POLICY, 400
        free = {image.id for image in made.images if made.kinds[image.id] in ("free", "rejected")}
        # What people protect, and what strangers disabled, is none of retirement's.
        held = {i.id for i in made.images if any(ami.protected or ami.since is None for ami in i.amis)}
        images, now = made.images, NOW
        for _ in range(120):
            now += timedelta(days=1)
            taken, _later = limit(steps(decide_retirement(now, images, policy, made.needed, made.usage)), most)
            assert {each.image for each in taken} <= free
            images = after(images, {each.ami.id: each.step for each in taken}, now)
        assert free - held == free - {image.id for image in images}


def after(images, taken, now):
    """The images after these steps."""
    stages = {Step.DEPRECATE: Stage.DEPRECATED, Step.DISABLE: Stage.DISABLED}
    left = []
    for image in images:
        amis = tuple(
            ami if ami.id not in taken else Ami(ami.id, ami.account, ami.region, stages[taken[ami.id]], now)
            for ami in image.amis
            if taken.get(ami.id) is not Step.DEREGISTER
        )
        if amis:
            left.append(Image(image.id, image.family, image.made_at, image.rejected, amis))
    return left
