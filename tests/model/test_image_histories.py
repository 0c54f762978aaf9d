"""Bakes, promotions and retirement of images under everything that can go wrong, in any order."""

from collections.abc import Iterator

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.model.conftest import PARTS
from tests.model.disturbed import Disturbed, any_one, try_histories
from tests.model.imaging_world import (
    BAKE_ENDS,
    BAKE_MACHINE,
    BASE,
    DAY,
    FAMILY,
    HOME,
    MINUTE,
    NOT_MOVED,
    PROMOTION_MACHINE,
    Imaging,
    ImagingPromises,
)
from tests.model.interpreter import Execution
from tests.model.test_production_histories import release
from tests.model.world import ENVIRONMENT_MACHINE

SPOILS = ["fails", "hangs", "is ended", "broken", "disagree", "may"]


def ask(world: Imaging, why: str = "so") -> None:
    """Somebody asks for a bake."""
    detail = {"family": FAMILY, "why": why, "requested_by": "dev"}
    world.deliver("accept_bake", world.on_the_bus("Image Bake Requested", detail))


def promote(world: Imaging, channel: str, image: str) -> None:
    """Somebody asks for a promotion."""
    detail = {"family": FAMILY, "channel": channel, "image": image, "why": "so", "requested_by": "dev"}
    world.deliver("accept_promotion", world.on_the_bus("Image Promotion Requested", detail))


class Images(Disturbed[Imaging, ImagingPromises]):
    """One family and all that happens to it."""

    EVERY = 20 * MINUTE

    def __init__(self) -> None:
        super().__init__(Imaging())

    def promised(self) -> ImagingPromises:
        return ImagingPromises(self.world)

    @initialize(lag=st.sampled_from([0, 0, 3, 60]), jitter=st.integers(0, 3), minutes=st.sampled_from([0, 3, 8, 40]))
    def begin(self, lag: int, jitter: int, minutes: int) -> None:
        """Somebody asks for a bake: every history begins so."""
        self.vary(lag, jitter)
        ask(self.world)
        self.world.timeline.advance(minutes * MINUTE)

    # ---- what people and machines want

    @rule()
    def bake(self) -> None:
        ask(self.world)

    @rule(application=st.sampled_from(["billing", "webshop"]), version=st.sampled_from(["1.0.0", "1.1.0", "2.0.0"]))
    def push(self, application: str, version: str) -> None:
        """A version boots the image of a channel, and passes; a proof that is ready is passed by its checks alone."""
        release(self.world, application, version)

    @precondition(lambda self: self._images())
    @rule(one=any_one, channel=st.sampled_from(["stable", "candidate"]))
    def promote(self, one: int, channel: str) -> None:
        images = self._images()
        detail = {"family": FAMILY, "channel": channel, "image": images[-1 - one % len(images)]}
        detail |= {"why": "so", "requested_by": "dev"}
        self._say("accept_promotion", "Image Promotion Requested", detail)

    @rule(channel=st.sampled_from(["stable", "candidate"]))
    def roll_back(self, channel: str) -> None:
        detail = {"family": FAMILY, "channel": channel, "why": "so", "requested_by": "dev"}
        self._say("accept_promotion", "Image Rollback Requested", detail)

    @rule()
    def retire(self) -> None:
        self.world.deliver("retire_images", {"now": self.world.timeline.text})

    # ---- what goes wrong

    @rule(wrong=st.lists(st.sampled_from(SPOILS), min_size=1, max_size=2))
    def spoil(self, wrong: list[str]) -> None:
        """Something will go wrong with a builder, an image, its checks or its copy."""
        self.world.line.spoils.extend(wrong)

    def _no_more_goes_wrong(self) -> None:
        self.world.line.spoils.clear()

    # ---- helpers of the rules

    def _images(self) -> list[str]:
        """The images at home, whatever came of them; not the one that they are baked from."""
        return [one.id for one in self.world.regions[HOME].amis.values() if one.labels]


@pytest.mark.parametrize("part", PARTS)
def test_every_history_of_images_keeps_the_promises(part: int) -> None:
    try_histories(Images, part, "rollouts")


@pytest.fixture
def imaging(monkeypatch: pytest.MonkeyPatch) -> Iterator[Imaging]:
    with Imaging().installed(monkeypatch) as world:
        assert isinstance(world, Imaging)
        yield world


def said(world: Imaging, *types: str) -> list[str]:
    """What was said of these types, in order."""
    return [what for what, _ in world.events.said if what in types]


def test_an_image_is_baked_proven_promoted_and_the_ones_before_are_retired(imaging: Imaging) -> None:
    promises, images = ImagingPromises(imaging), imaging.regions[HOME].amis
    for number in range(6):
        ask(imaging, str(number))
        imaging.timeline.advance(60 * MINUTE)
        promises.kept()
        release(imaging, "billing", f"1.{number}.0")
        imaging.timeline.advance(60 * MINUTE)
        promises.kept()
    assert said(imaging, *BAKE_ENDS) == ["Image Baked"] * 6
    assert imaging.channel("candidate")["image"] == imaging.channel("stable")["image"]
    assert len(imaging.channel("stable")["previous"]) == 3
    for _ in range(8):
        imaging.timeline.advance(DAY)
        promises.kept()
    assert not promises.open()
    assert {one.id for one in images.values() if one.labels} == {image for _, image in imaging.needed()}


def test_an_environment_whose_image_is_deregistered_before_its_stack_is_made_fails_and_says_which(
    imaging: Imaging,
) -> None:
    detail = {"application": "billing", "version": "1.0.0", "artifact": "s3://artifacts/1"}
    imaging.deliver("accept_code_version", imaging.on_the_bus("Code Version Pushed", detail))
    until(imaging, ENVIRONMENT_MACHINE, "Create Stack")
    del imaging.regions[HOME].amis[BASE]
    imaging.timeline.advance(60 * MINUTE)
    [(_, failed)] = [one for one in imaging.events.said if one[0] == "Environment Failed"]
    assert BASE in failed["reason"]
    assert said(imaging, "Environment Terminated", "Release Failed") == ["Environment Terminated", "Release Failed"]
    assert not ImagingPromises(imaging).open()


def until(world: Imaging, machine: str, state: str) -> Execution:
    """Lets time pass until an execution of a machine is in a state; returns that execution."""
    for _ in range(20_000):
        world.timeline.advance(0.5)
        if found := [one for one in world.executions(machine) if one.running and one.state == state]:
            return found[0]
    raise AssertionError(f"none came to {state}")


class TestAnEndThatIsNotSaid:
    """It stands in the record of the bake or the channel, which stays open until it is said."""

    @pytest.mark.parametrize(("wrong", "state"), [("", "Announce Baked"), ("disagree", "Announce Rejected")])
    @pytest.mark.parametrize("how", ["the bus is down for a day", "it is stopped"])
    def test_of_a_bake_is_said_by_a_later_sweep(self, imaging: Imaging, wrong: str, state: str, how: str) -> None:
        imaging.line.spoils.extend([wrong] if wrong else [])
        ask(imaging)
        until(imaging, BAKE_MACHINE, "Judge")
        if how == "it is stopped":
            imaging.machines.stop(until(imaging, BAKE_MACHINE, state))
        else:
            imaging.faults.down["events"] = imaging.timeline.now + DAY
        imaging.timeline.advance(DAY + 3 * 60 * MINUTE)
        assert said(imaging, *BAKE_ENDS) == [state.replace("Announce", "Image")]
        assert not ImagingPromises(imaging).open()

    @pytest.mark.parametrize("state", ["Plan", "Launch Builder", "Create Image", "Remove Builder", "Prove"])
    def test_of_a_bake_that_was_stopped_is_judged_and_the_one_that_stood_back_follows(
        self, imaging: Imaging, state: str
    ) -> None:
        ask(imaging)
        stopped = until(imaging, BAKE_MACHINE, state)
        if state != "Plan":
            ask(imaging, "another one")
            imaging.timeline.advance(5)
        imaging.machines.stop(stopped)
        imaging.timeline.advance(10 * 60 * MINUTE)
        of_it = [what for what, detail in imaging.events.said if detail.get("bake") == stopped.name]
        assert of_it in (["Image Rejected"], ["Image Baked"])
        assert len(imaging.executions(BAKE_MACHINE)) == (1 if state == "Plan" else 3)
        assert not ImagingPromises(imaging).open()

    @pytest.mark.parametrize("how", ["the bus is down for a day", "it is stopped"])
    def test_of_a_promotion_is_said_when_the_channel_is_measured(self, imaging: Imaging, how: str) -> None:
        ask(imaging)
        until(imaging, PROMOTION_MACHINE, "Move")
        if how == "it is stopped":
            imaging.machines.stop(until(imaging, PROMOTION_MACHINE, "Announce Move"))
        else:
            imaging.faults.down["events"] = imaging.timeline.now + DAY
        imaging.timeline.advance(DAY + 3 * 60 * MINUTE)
        assert said(imaging, "Image Promoted", "Image Promotion Failed") == ["Image Promoted"]
        assert not ImagingPromises(imaging).open()

    @pytest.mark.parametrize(
        ("who", "state"),
        [("a bake", state) for state in ("Plan", "Copy", "Share", "Move")]
        + [("a person", state) for state in ("Plan", "Share", "Move")],
    )
    def test_of_a_promotion_that_was_stopped_is_said_by_a_sweep_once(
        self, imaging: Imaging, who: str, state: str
    ) -> None:
        ask(imaging)
        if who == "a person":
            imaging.timeline.advance(60 * MINUTE)
            promote(imaging, "stable", imaging.channel("candidate")["image"])
        stopped = until(imaging, PROMOTION_MACHINE, state)
        imaging.machines.stop(stopped)
        imaging.timeline.advance(DAY)
        failed = [detail for what, detail in imaging.events.said if what in NOT_MOVED]
        if (who, state) == ("a bake", "Plan"):  # nothing has begun: its bake says that no channel points to its image
            [baked] = [detail for what, detail in imaging.events.said if what == "Image Baked"]
            assert (failed, baked["candidate"]) == ([], False)
        else:
            [one] = failed
            assert (one["channel"], one["error"]) == (stopped.input["channel"], "Aborted")
        assert not ImagingPromises(imaging).open()

    @pytest.mark.parametrize("state", ["Keep Outcome", "Announce Outcome", "Close Outcome"])
    def test_of_a_promotion_that_was_stopped_as_it_said_why_it_moved_nothing_is_said(
        self, imaging: Imaging, state: str
    ) -> None:
        ask(imaging)
        imaging.timeline.advance(60 * MINUTE)
        promote(imaging, "stable", "ami-0000000a")
        imaging.machines.stop(until(imaging, PROMOTION_MACHINE, state))
        imaging.timeline.advance(DAY)
        outcome = "Image Promotion Failed" if state == "Keep Outcome" else "Image Promotion Refused"
        assert set(said(imaging, *NOT_MOVED)) == {outcome}
        assert not ImagingPromises(imaging).open()

    @pytest.mark.parametrize("outcome", NOT_MOVED)
    def test_of_a_promotion_that_moved_nothing_is_said_by_a_sweep(self, imaging: Imaging, outcome: str) -> None:
        ask(imaging)
        until(imaging, PROMOTION_MACHINE, "Copy")
        imaging.faults.down["events"] = imaging.timeline.now + DAY
        if outcome == "Image Promotion Failed":
            imaging.line.spoils.append("broken")
        else:
            promote(imaging, "stable", "ami-0000000a")
        imaging.timeline.advance(DAY)
        assert said(imaging, *NOT_MOVED) == []
        imaging.timeline.advance(3 * 60 * MINUTE)
        assert said(imaging, *NOT_MOVED) == [outcome]
        assert not ImagingPromises(imaging).open()


def test_a_promotion_that_moved_the_channel_does_not_say_that_it_failed(imaging: Imaging) -> None:
    """What follows from the move, parameters and protection, cannot be done for hours."""
    ask(imaging)
    until(imaging, PROMOTION_MACHINE, "Share")
    while not imaging.channel("candidate"):
        imaging.timeline.advance(0.25)
    imaging.faults.down["workload"] = imaging.timeline.now + 180 * MINUTE
    imaging.timeline.advance(12 * 60 * MINUTE)
    assert said(imaging, "Image Promoted", "Image Promotion Failed") == ["Image Promoted"]
    assert not ImagingPromises(imaging).open()
