"""What instances say of their first boot, and whether one that failed is replaced."""

from hypothesis import given
from hypothesis import strategies as st

from mayfly.domain.boot import decide_replacement, unready, wrong_versions

READY = {"mayfly:boot": "ready after 74 s: certificate 4 s; deploy 20 s;"}
HANGS = {"mayfly:boot": "certificate 4 s; deploy since 10:41:07Z"}
FAILED = {"mayfly:boot": "failed after 9 s: deploy: exit code 1", "mayfly:boot-log": "no space left"}


def test_those_that_hang_are_named_with_their_step_and_those_that_failed_come_first():
    assert unready({"i-1": READY, "i-2": HANGS, "i-3": FAILED, "i-4": {}}) == [
        "i-3: failed after 9 s: deploy: exit code 1; its log ends with: no space left",
        "i-2: certificate 4 s; deploy since 10:41:07Z",
        "i-4: has said nothing yet",
    ]


def test_of_instances_that_never_say_how_far_they_are_nothing_is_known():
    assert unready({"i-1": {}, "i-2": {"Name": "x"}}) == []


def test_the_version_that_runs_is_compared_where_an_instance_says_it():
    said = {"i-1": {"mayfly:version": "1.4.1"}, "i-2": {"mayfly:version": "1.4.2"}, "i-3": {}}
    assert wrong_versions(said, "1.4.2") == ["i-1 runs 1.4.1, not 1.4.2"]


def test_the_checksum_of_its_artifact_is_as_good_as_a_version():
    said = {"i-1": {"mayfly:version": "a" * 64}, "i-2": {"mayfly:version": "b" * 64}, "i-3": {"mayfly:version": ""}}
    box = f"https://box.example/webshop.tgz#sha256={'a' * 64}"
    assert wrong_versions(said, "1.4.2", box) == [f"i-2 runs {'b' * 64}, not 1.4.2", "i-3 runs nothing, not 1.4.2"]
    assert len(wrong_versions(said, "1.4.2", "https://box.example/webshop.tgz")) == 3


@given(st.lists(st.sampled_from(["i-1", "i-2", "i-3", "i-4"])), st.integers(0, 4))
def test_as_many_are_replaced_as_may_be_however_often_each_is_told_of(told, limit):
    failed, replaced = (), set()
    for instance in told:
        decision = decide_replacement(failed, instance, "failed", limit)
        failed = decision.failed
        replaced |= {instance} if decision.granted else set()
    assert len(replaced) == min(limit, len(set(told)))
    assert set(failed) == set(told)
