"""A newer version of a branch ends the older releases of it that wait, or that are tested still, as configured."""

from typing import Any

import pytest

from mayfly.aws.records import ChangedMeanwhile
from mayfly.workflows import superseding
from tests.integration.world import NOW, PUSHED, Json, World, an_order, on_the_bus

BRANCH = "webshop#feature/basket"


@pytest.fixture(autouse=True)
def _its_releases_are_superseded_while_they_wait(world: World) -> None:
    configured(world, "waiting")
    world.wire.answer("StartExecution", executionArn="arn:aws:states:us-east-1:111111111111:execution:x:y", startDate=0)


def configured(world: World, supersede: str) -> None:
    world.configure(supersede=supersede, suites=[{"name": "smoke", "retries": 1}])


def accepted(world: World, version: str, second: int, **said: Any) -> tuple[str, Json]:
    """AWS took the push of a version of the branch in this second."""
    pushed = PUSHED | {"version": version, "branch": "feature/basket"} | said
    pushed = {name: value for name, value in pushed.items() if value is not None}
    event = on_the_bus("Code Version Pushed", pushed) | {"time": f"2026-11-24T06:47:{second:02}Z"}
    return str(world.call("accept_code_version", event)["release"]), pushed


def planned(world: World, release: str, pushed: Json) -> None:
    world.call("plan_release", {"release": release, "pushed": pushed, "now": NOW})


def pushed(world: World, version: str, second: int, **said: Any) -> str:
    """A version is pushed, and its release planned. Returns its release."""
    release, detail = accepted(world, version, second, **said)
    planned(world, release, detail)
    return release


def begins(world: World, release: str, suite: str = "smoke") -> str:
    """The life of an environment of a release begins. Returns it."""
    environment = f"{release}-{suite}"
    order = an_order(environment=environment, release=release, suite=suite, branch="feature/basket", demand={})
    assert world.call("plan_environment", {"order": order, "now": NOW})["environment"] == environment
    return environment


def waits(world: World, release: str) -> str:
    """An environment of a release waits for room."""
    environment = begins(world, release)
    waiting = {"for": "room", "token": f"token-of-{environment}"}
    world.records().change(environment, {"stage": "queued", "waiting": waiting}, drop=("reserved",))
    return environment


def is_tested(world: World, release: str) -> str:
    environment = begins(world, release)
    world.change(environment, stage="awaiting tests", stack="a-stack", waiting={"for": "tests", "token": environment})
    return environment


def ending(world: World, environment: str) -> Json:
    return dict(world.record(environment).get("ending") or {})


def superseded_by(world: World, release: str) -> str | None:
    return world.record(release, "release").get("superseded_by")


class TestANewerVersion:
    def test_ends_what_waits_for_room_and_says_by_which_release(self, world: World) -> None:
        older = pushed(world, "1.0.0", 33)
        environment = waits(world, older)
        newer = pushed(world, "1.0.1", 34)
        assert (ending(world, environment)["outcome"], superseded_by(world, older)) == ("cancelled", newer)
        assert ending(world, environment)["reason"] == f"superseded by {newer}"
        [told] = world.settled
        assert (told["taskToken"], told["error"]) == (f"token-of-{environment}", "EndedBefore")
        assert superseded_by(world, newer) is None
        assert world.record(BRANCH, "branch")["releases"] == [older, newer]

    def test_and_the_verdict_says_so(self, world: World) -> None:
        older = pushed(world, "1.0.0", 33)
        waits(world, older)
        newer = pushed(world, "1.0.1", 34)
        verdict = world.call("judge_release", {"release": older, "now": NOW})
        assert (verdict["passed"], verdict["reason"]) == (False, f"superseded by {newer}")

    @pytest.mark.parametrize(("supersede", "ends"), [("never", False), ("waiting", False), ("always", True)])
    def test_ends_what_is_tested_only_where_it_is_to_be_ended_always(
        self, world: World, supersede: str, ends: bool
    ) -> None:
        configured(world, supersede)
        environment = is_tested(world, pushed(world, "1.0.0", 33))
        newer = pushed(world, "1.0.1", 34)
        assert ending(world, environment).get("reason") == (f"superseded by {newer}" if ends else None)

    def test_ends_nothing_where_that_is_not_configured(self, world: World) -> None:
        configured(world, "never")
        environment = waits(world, pushed(world, "1.0.0", 33))
        pushed(world, "1.0.1", 34)
        assert not ending(world, environment)
        assert not world.record(BRANCH, "branch")

    @pytest.mark.parametrize("other", [{"branch": "main"}, {"branch": None}])
    def test_of_another_branch_or_of_none_ends_nothing(self, world: World, other: Json) -> None:
        environment = waits(world, pushed(world, "1.0.0", 33))
        pushed(world, "1.0.1", 34, **other)
        assert not ending(world, environment)

    def test_ends_no_release_that_was_pushed_without_a_branch(self, world: World) -> None:
        environment = waits(world, pushed(world, "1.0.0", 33, branch=None))
        pushed(world, "1.0.1", 34)
        assert not ending(world, environment)

    def test_ends_nothing_where_aws_took_both_in_the_same_second(self, world: World) -> None:
        environment = waits(world, pushed(world, "1.0.0", 33))
        pushed(world, "1.0.1", 33)
        assert not ending(world, environment)

    def test_leaves_a_release_alone_that_has_its_verdict_and_forgets_it(self, world: World) -> None:
        configured(world, "always")
        older = pushed(world, "1.0.0", 33)
        environment = is_tested(world, older)
        world.change(environment, ending={"by": "tests", "outcome": "passed", "reason": "all"})
        world.call("judge_release", {"release": older, "now": NOW})
        newer = pushed(world, "1.0.1", 34)
        assert (superseded_by(world, older), world.record(BRANCH, "branch")["releases"]) == (None, [newer])

    def test_leaves_a_release_alone_of_which_nothing_goes_on(self, world: World) -> None:
        configured(world, "always")
        older = pushed(world, "1.0.0", 33)
        world.change(is_tested(world, older), ending={"by": "tests", "outcome": "passed", "reason": "all"})
        pushed(world, "1.0.1", 34)
        assert superseded_by(world, older) is None
        assert world.call("judge_release", {"release": older, "now": NOW})["passed"]

    def test_ends_the_repetition_of_a_suite_that_failed_before_it_begins(self, world: World) -> None:
        configured(world, "always")
        older = pushed(world, "1.0.0", 33)
        world.change(is_tested(world, older), ending={"by": "tests", "outcome": "failed", "reason": "1 of 9"})
        newer = pushed(world, "1.0.1", 34)
        assert ending(world, begins(world, older, "smoke-2"))["reason"] == f"superseded by {newer}"


class TestAnOlderVersion:
    def test_that_arrives_late_ends_itself_and_not_the_newer_one(self, world: World) -> None:
        newer = pushed(world, "1.0.1", 34)
        later = waits(world, newer)
        older = pushed(world, "1.0.0", 33)
        assert (superseded_by(world, older), superseded_by(world, newer)) == (newer, None)
        assert ending(world, begins(world, older))["reason"] == f"superseded by {newer}"
        assert not ending(world, later)

    def test_whose_environments_have_no_record_yet_finds_it_when_they_begin_and_asks_for_no_room(
        self, world: World
    ) -> None:
        older = pushed(world, "1.0.0", 33)
        newer = pushed(world, "1.0.1", 34)
        order = an_order(environment=f"{older}-smoke", release=older, branch="feature/basket")
        assert not world.call("plan_environment", {"order": order, "now": NOW})["admitted"]
        assert ending(world, f"{older}-smoke")["reason"] == f"superseded by {newer}"

    def test_whose_record_begins_while_it_is_superseded_is_ended_all_the_same(self, world: World) -> None:
        older = pushed(world, "1.0.0", 33)
        release, detail = accepted(world, "1.0.1", 34)
        begun: list[str] = []
        reads: list[None] = []

        def read() -> None:  # that of the branch's releases, that of the environments, and the one after the mark
            reads.append(None)
            if len(reads) == 3:
                begun.append(begins(world, older))
            else:
                world.wire.before("BatchGetItem", read)

        world.wire.before("BatchGetItem", read)
        planned(world, release, detail)
        assert [ending(world, each)["reason"] for each in begun] == [f"superseded by {release}"]


class TestARepetition:
    def test_ends_each_environment_once(self, world: World) -> None:
        environment = waits(world, pushed(world, "1.0.0", 33))
        release, detail = accepted(world, "1.0.1", 34)
        for _ in range(3):
            planned(world, release, detail)
        assert world.history(environment).count("newer version") == 1
        assert len(world.settled) == 1

    def test_ends_what_a_death_in_between_has_left(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        older = pushed(world, "1.0.0", 33)
        environment = waits(world, older)
        release, detail = accepted(world, "1.0.1", 34)

        def dies(*_: Any) -> None:
            raise TimeoutError("Lambda's time is over")

        with monkeypatch.context() as first:
            first.setattr(superseding.environments, "end", dies)
            with pytest.raises(TimeoutError):
                planned(world, release, detail)
        assert (superseded_by(world, older), ending(world, environment)) == (release, {})
        planned(world, release, detail)
        assert ending(world, environment)["reason"] == f"superseded by {release}"

    def test_sees_who_was_planned_at_the_same_time(self, world: World) -> None:
        older, detail = accepted(world, "1.0.0", 33)
        newer, newest = accepted(world, "1.0.1", 34)
        # Its first write is that of its plan, the second one the branch's.
        between = lambda: planned(world, newer, newest)  # noqa: E731
        world.wire.before("UpdateItem", lambda: world.wire.before("UpdateItem", between))
        with pytest.raises(ChangedMeanwhile):
            planned(world, older, detail)
        planned(world, older, detail)
        assert superseded_by(world, older) == newer


def test_a_branch_that_git_could_not_call_so_is_refused(world: World) -> None:
    event = on_the_bus("Code Version Pushed", PUSHED | {"branch": "two words"})
    world.call("accept_code_version", event)
    [letter] = world.dead_letters()
    assert "branch" in str(letter)
    assert not world.executions()
