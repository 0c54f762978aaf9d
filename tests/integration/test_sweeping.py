"""The sweep: what should be gone and is not is found by its tags, everywhere, and ended; nothing else is touched."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from mayfly.contract.orders import Subject
from mayfly.contract.requests import EnvironmentExtensionRequested
from mayfly.settings import load_settings
from mayfly.workflows import environments
from tests.integration.world import (
    AFTER,
    CEILING,
    CONTROLLER,
    CONTROLLER_ACCOUNT,
    DEADLINE,
    ENVIRONMENT,
    LATER,
    NOW,
    OURS,
    REGION,
    TOKEN,
    WORKLOAD_ACCOUNT,
    Json,
    World,
    an_order,
    deletion,
    on_the_bus,
)

SWEEP = "sweep_environments"
PASSED = {"by": "tests", "outcome": "passed", "reason": "-", "at": NOW}
JUST_AFTER, NEAR = "2026-11-24T07:47:35.000Z", "2026-11-24T07:20:00.000Z"
MUCH_LATER = "2026-11-24T11:47:35.000Z"
"""Past the deadline by a second, well within the time that its own execution has; and half an hour before it."""


def sweep(world: World, now: str = AFTER, **more: Any) -> Json:
    return world.call(SWEEP, {"now": now} | more)


def asked(at: str = AFTER, **more: Any) -> Json:
    """A sweep that somebody asks for on the bus."""
    event = on_the_bus("Sweep Requested", {"why": "to see", "requested_by": "ops"} | more)
    return event | {"time": at, "sent": at}


def decisions(report: Json) -> dict[str, str]:
    """What was decided about each environment that was not simply kept."""
    assert len({each["environment"] for each in report["decisions"]}) == len(report["decisions"])
    return {each["environment"]: each["action"] for each in report["decisions"]}


def why(report: Json, environment: str = ENVIRONMENT) -> str:
    (reason,) = [each["reason"] for each in report["decisions"] if each["environment"] == environment]
    return str(reason)


def written(world: World, report: Json) -> Json:
    """The report as it lies in S3."""
    body = world.own("s3").get_object(Bucket=world.reports, Key=report["key"])["Body"].read()
    found: Json = json.loads(body)
    return found


def named(environment: str, **tags: str | None) -> dict[str, str]:
    """Our tags for an environment, with some of them otherwise, or not there."""
    change = {f"mayfly:{key.replace('_', '-')}": value for key, value in tags.items()}
    own = OURS | {"mayfly:environment": environment} | change
    return {key: value for key, value in own.items() if value is not None}


def remembered(world: World, name: str, **change: Any) -> None:
    """An environment's record, while it waits for its tests."""
    world.planned(environment=name)
    waiting = {"for": "tests", "token": f"{TOKEN}{name}"}
    world.change(name, **({"stage": "awaiting tests", "waiting": waiting} | change))


def standing(world: World, name: str, record: bool = True, **change: Any) -> str:
    """An environment with a stack, for which nobody waits. Returns its stack's id."""
    if record:
        remembered(world, name, **change)
    return world.stand(f"mayfly-{name}", named(name))


class TestWhatLivesIsKept:
    def test_until_its_deadline(self, world: World) -> None:
        world.ready()
        world.run()
        report = sweep(world, LATER)
        assert report["decisions"] == []
        assert written(world, report)["kept"] == [
            {"environment": ENVIRONMENT, "action": "keep", "reason": f"until {DEADLINE}"}
        ]
        assert (world.started(), world.settled) == ({}, [])

    def test_a_little_longer_while_its_own_execution_ends_it(self, world: World) -> None:
        world.ready()
        world.run()
        assert decisions(sweep(world, JUST_AFTER)) == {}

    def test_as_long_as_its_own_execution_deletes_it(self, world: World) -> None:
        world.ready()
        world.run()
        world.call("delete_environment", deletion("deadline"))
        stack = world.record()["stack"]
        world.stand(f"mayfly-{ENVIRONMENT}", OURS)  # moto deletes at once
        assert world.stack(stack) is None
        assert decisions(sweep(world, "2026-11-25T06:00:00.000Z")) == {}
        assert world.settled == []

    def test_also_where_it_was_adopted_by_a_sweep(self, world: World) -> None:
        world.ready()
        world.run(f"{ENVIRONMENT}__2991234")
        assert decisions(sweep(world, LATER)) == {}

    def test_until_its_moved_deadline_and_not_the_one_of_its_tag(self, world: World) -> None:
        world.ready()
        world.change(deadline="2026-11-24T10:00:00.000Z")
        world.run()
        assert decisions(sweep(world)) == {}

    def test_never_past_the_ceiling_of_its_tag_whatever_its_record_says(self, world: World) -> None:
        world.ready()
        world.change(deadline="2027-11-24T10:00:00.000Z", ceiling="2027-11-24T10:00:00.000Z")
        assert decisions(sweep(world, "2026-11-24T10:47:35.000Z")) == {ENVIRONMENT: "end"}


class TestWhatIsPastItsDeadlineIsEnded:
    def test_where_nobody_waits_for_it(self, world: World) -> None:
        world.ready()
        report = sweep(world)
        assert decisions(report) == {ENVIRONMENT: "end"}
        assert why(report) == f"its deadline {DEADLINE} (record) has passed, and no execution ends it"
        (order,) = world.started().values()
        assert order == {
            "environment": ENVIRONMENT,
            "account": WORKLOAD_ACCOUNT,
            "region": REGION,
            "begin": "termination",
            "aborted": False,
            "deadline": DEADLINE,
            "ceiling": CEILING,
            "why": f"sweep: {why(report)}",
            **{key: an_order()[key] for key in ("release", "application", "version", "suite", "kind", "owner")},
        }

    def test_through_an_execution_that_destroys_it_as_every_other_does(self, world: World) -> None:
        world.ready()
        sweep(world)
        (order,) = world.started().values()
        world.call("plan_environment", {"order": order, "now": AFTER})
        ended = {"by": "sweep", "why": order["why"]}
        world.call("delete_environment", {"order": order, "deadline": "", "ended": ended, "token": TOKEN, "now": AFTER})
        assert world.stack() is None
        assert world.record()["ending"]["reason"] == order["why"]

    def test_and_the_sweep_itself_destroys_nothing(self, world: World) -> None:
        world.ready()
        world.wire.forget()
        sweep(world)
        destructive = ("Delete", "Terminate", "Revoke", "Detach", "Update")
        assert {name for name in world.wire.names() if name.startswith(destructive)} == {"UpdateItem"}
        assert only_its_own_records(world, "sweep", "sum")
        assert {call.get("Tags", []) == [] for call in world.wire.heard("AssumeRole")} == {True}

    def test_in_ten_minutes_by_one_execution(self, world: World) -> None:
        world.ready()
        sweep(world, "2026-11-24T08:40:00.000Z")
        sweep(world, "2026-11-24T08:45:00.000Z")
        listed = world.own("stepfunctions").list_executions(stateMachineArn=world.environment_machine)["executions"]
        assert len(listed) == 1

    def test_also_where_its_record_is_lost_by_its_tags(self, world: World) -> None:
        standing(world, "forgotten", record=False)
        report = sweep(world)
        assert why(report, "forgotten") == f"its deadline {DEADLINE} (tag) has passed, and no execution ends it"
        (order,) = world.started().values()
        expected = {"application": "webshop", "release": "unknown", "suite": "unknown", "deadline": DEADLINE}
        assert {key: order[key] for key in expected} == expected

    def test_also_before_its_deadline_where_it_was_ended_and_nobody_carries_it_out(self, world: World) -> None:
        world.ready()
        world.change(ending={"by": "tests", "outcome": "passed", "reason": "-", "at": NOW})
        report = sweep(world, LATER)
        assert decisions(report) == {ENVIRONMENT: "end"}
        assert why(report) == "it was ended by tests, and no execution carries it out"

    @pytest.mark.parametrize("expires", [None, "tomorrow", "2026-11-24T07:47:34", "9999"])
    def test_by_its_age_where_its_tag_is_no_deadline(self, world: World, expires: str | None) -> None:
        stack = world.stand("mayfly-old", named("old", expires_at=expires, ceiling=None))
        world.set_stack(stack, creation_time=datetime(2026, 11, 23, 8, 0))  # noqa: DTZ001  # as moto keeps it
        report = sweep(world)
        assert decisions(report) == {"old": "end"}
        (order,) = world.started().values()
        assert order["deadline"] == "2026-11-24T08:00:00.000Z"
        assert world.call("plan_environment", {"order": order, "now": AFTER})["begin"] == "termination"


class TestWhatNobodyWaitsForIsAdopted:
    def test_until_its_deadline(self, world: World) -> None:
        world.ready()
        report = sweep(world, LATER)
        assert decisions(report) == {ENVIRONMENT: "adopt"}
        (order,) = world.started().values()
        assert (order["begin"], order["deadline"], order["suite"]) == ("tests", DEADLINE, "smoke")
        assert world.call("plan_environment", {"order": order, "now": LATER})["deadline"] == DEADLINE

    def test_until_the_deadline_of_its_tag_where_its_record_is_lost(self, world: World) -> None:
        standing(world, "forgotten", record=False)
        sweep(world, LATER)
        (order,) = world.started().values()
        assert (order["begin"], order["deadline"], order["ceiling"]) == ("tests", DEADLINE, CEILING)
        world.call("plan_environment", {"order": order, "now": LATER})
        detail = {"environment": "forgotten", "minutes": 30, "why": "a failure to look at", "requested_by": "dev"}
        extended = world.call("accept_extension", on_the_bus("Environment Extension Requested", detail))
        assert extended["accepted"], extended["reason"]
        assert DEADLINE < world.record("forgotten")["deadline"] <= CEILING

    def test_until_a_day_after_its_creation_where_nothing_says_until_when(self, world: World) -> None:
        stack = world.stand("mayfly-odd", named("odd", expires_at="whenever", ceiling=None))
        world.set_stack(stack, creation_time=datetime(2026, 11, 24, 5, 0))  # noqa: DTZ001
        sweep(world, LATER)
        (order,) = world.started().values()
        assert (order["begin"], order["deadline"]) == ("tests", "2026-11-25T05:00:00.000Z")

    @pytest.mark.parametrize("record", [True, False], ids=["its record known", "its record not in the index yet"])
    def test_but_not_what_has_just_begun_whose_execution_is_not_listed_yet(self, world: World, record: bool) -> None:
        standing(world, "newborn", record=record)
        report = sweep(world, "2026-11-24T06:49:00.000Z")
        assert world.started() == {}
        (kept,) = written(world, report)["kept"]
        assert kept["reason"].endswith("its execution may not be listed yet")

    def test_but_not_where_its_life_only_began_while_the_sweep_looked_around(self, world: World) -> None:
        def begin() -> None:
            world.run("newborn")
            standing(world, "newborn")

        world.wire.before("DescribeStacks", begin)
        assert decisions(sweep(world, LATER)) == {}
        assert world.started() == {}

    def test_nor_is_its_record_closed_where_its_life_ended_meanwhile(self, world: World) -> None:
        stack = world.ready()
        running = world.run()

        def end() -> None:
            world.there("cloudformation").delete_stack(StackName=stack)
            world.own("stepfunctions").stop_execution(executionArn=running)

        world.wire.before("AssumeRole", end)
        assert decisions(sweep(world)) == {}


class TestWhatLetsItsDeadlinePassIsWoken:
    @pytest.mark.parametrize("wait", ["tests", "creation"])
    def test_by_its_token(self, world: World, wait: str) -> None:
        world.ready()
        world.change(waiting={"for": wait, "token": TOKEN})
        world.run()
        report = sweep(world)
        assert decisions(report) == {ENVIRONMENT: "wake"}
        (told,) = world.settled
        assert (told["taskToken"], told["error"]) == (TOKEN, "Overdue")
        assert told["cause"] == why(report) == f"its execution let its deadline {DEADLINE} pass"
        assert world.started() == {}

    def test_and_left_alone_where_it_waits_for_nothing(self, world: World) -> None:
        world.ready()
        world.change(waiting=None)
        world.run()
        assert decisions(sweep(world)) == {ENVIRONMENT: "wake"}
        assert (world.settled, world.started()) == ([], {})

    def test_and_nothing_happens_where_its_token_is_spent(self, world: World) -> None:
        world.ready()
        world.run()
        world.wire.answer("SendTaskFailure", error="TaskTimedOut")
        assert decisions(sweep(world)) == {ENVIRONMENT: "wake"}


REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "all tags are gone": ({}, "it does not carry the tag mayfly:controller"),
    "its controller's tag is gone": (named("kept", controller=None), "it does not carry the tag mayfly:controller"),
    "its environment's tag is gone": (
        {key: value for key, value in OURS.items() if key != "mayfly:environment"},
        "it does not carry the tag mayfly:environment",
    ),
    "its environment's tag is another's": (OURS, f"its tag mayfly:environment is {ENVIRONMENT}; expected kept"),
    "its tag protects it": (named("kept", protected="true"), "it is protected by its tag mayfly:protected=true"),
}


class TestWhatMustNotBeTouchedIsRefused:
    @pytest.mark.parametrize(("tags", "reason"), REFUSED.values(), ids=REFUSED)
    @pytest.mark.parametrize("now", [LATER, "2027-01-01T00:00:00.000Z"], ids=["before its deadline", "long after"])
    def test_and_reported(self, world: World, tags: Json, reason: str, now: str) -> None:
        stack = world.stand("mayfly-kept", tags)
        report = sweep(world, now)
        assert decisions(report) == {"kept": "refuse"}
        assert reason in why(report, "kept")
        assert world.started() == {}
        assert world.stack(stack)
        ((what, detail),) = world.said
        assert what == "Sweep Completed"
        assert detail["refused"] == report["decisions"]

    def test_where_its_termination_protection_is_on(self, world: World) -> None:
        stack = world.ready()
        world.set_stack(stack, enable_termination_protection=True)
        report = sweep(world)
        assert decisions(report) == {ENVIRONMENT: "refuse"}
        assert "the stack's termination protection is on" in why(report)
        assert world.started() == {}

    def test_and_neither_woken(self, world: World) -> None:
        stack = world.ready()
        world.run()
        world.set_stack(stack, tags=OURS | {"mayfly:protected": "true"})
        assert decisions(sweep(world)) == {ENVIRONMENT: "refuse"}
        assert world.settled == []

    def test_a_tag_that_names_another_environment_hides_neither(self, world: World) -> None:
        """A stack whose tag says that it is one that lives would live as long as that."""
        world.ready()
        world.run()
        world.stand("mayfly-impostor", OURS)
        report = sweep(world, LATER)
        assert decisions(report) == {"impostor": "refuse"}
        assert report["counts"]["keep"] == 1

    @pytest.mark.parametrize("name", ["Web Shop", "*", "x" * 60, "9lives", "a_b"])
    def test_what_bears_a_name_that_mayfly_never_gives(self, world: World, name: str) -> None:
        """No execution can be named after it; it keeps no other from being ended."""
        world.launch(named(name))
        standing(world, "due")
        report = sweep(world)
        assert decisions(report) == {name: "refuse", "due": "end"}
        assert [order["environment"] for order in world.started().values()] == ["due"]

    @pytest.mark.parametrize(
        ("name", "tags"),
        [
            ("mayfly-theirs", named("theirs", controller="111111111111/us-east-1/other")),
            ("payments", {}),
            ("payments", named("payments")),
        ],
        ids=["another controller's", "somebody's", "somebody's under our tags"],
    )
    def test_others_stacks_are_not_even_looked_at(self, world: World, name: str, tags: Json) -> None:
        world.stand(name, tags)
        assert decisions(sweep(world, "2027-01-01T00:00:00.000Z")) == {}
        assert world.started() == {}


class TestWhatShouldBeGoneAndIsLeftStanding:
    """Its execution tells people. Where that was stopped before, a sweep does, once."""

    @pytest.mark.parametrize(
        ("record", "now"),
        [
            ({"ending": PASSED}, LATER),
            ({"ending": PASSED, "handed_over": "Blocked by Subnet"}, LATER),
            ({}, AFTER),
        ],
        ids=["it was ended", "it was handed over", "its time is over"],
    )
    def test_is_told_of_once(self, world: World, record: Json, now: str) -> None:
        stack = standing(world, "kept", **record)
        world.set_stack(stack, enable_termination_protection="handed_over" not in record)
        report = sweep(world, now)
        assert decisions(report) == {"kept": "refuse"}
        sweep(world, AFTER)
        [said] = [detail for what, detail in world.said if what == "Environment Failed"]
        assert (said["environment"], said["instances_left"]) == ("kept", "unknown")
        assert said["reason"] == report["decisions"][0]["reason"]
        assert world.record("kept")["leak_announced"] == now

    @pytest.mark.parametrize("it", ["runs", "has told", "has time", "is asked about"])
    def test_is_not_told_of_where_its_execution(self, world: World, it: str) -> None:
        more = {"leak_announced": NOW} if it == "has told" else {}
        stack = standing(world, "kept", **more)
        world.set_stack(stack, enable_termination_protection=True)
        if it == "runs":
            world.run("kept")
        now = LATER if it == "has time" else AFTER
        assert decisions(sweep(world, now, dry_run=it == "is asked about")) == {"kept": "refuse"}
        assert "Environment Failed" not in [what for what, _ in world.said]

    def test_is_told_of_anew_where_a_person_has_had_it_ended_again(self, world: World) -> None:
        remembered(world, ENVIRONMENT, handed_over="Blocked by Subnet", ending=PASSED, leak_announced=NOW)
        asked = {"environment": ENVIRONMENT, "requested_by": "ada", "why": "mended", "again": True}
        world.call("accept_termination", on_the_bus("Environment Termination Requested", asked))
        assert "leak_announced" not in world.record()

    def test_is_told_of_anew_where_its_owner_gave_it_more_time(self, world: World) -> None:
        remembered(world, ENVIRONMENT, leak_announced=NOW)
        asked = {"environment": ENVIRONMENT, "minutes": 30, "why": "a demo", "requested_by": "ada"}
        world.call("accept_extension", on_the_bus("Environment Extension Requested", asked))
        assert "leak_announced" not in world.record()

    def test_is_told_of_anew_where_it_is_handed_over_for_another_reason(self, world: World) -> None:
        stack = standing(world, "kept", ending=PASSED)
        world.set_stack(stack, enable_termination_protection=True)
        sweep(world, LATER)
        world.set_stack(stack, enable_termination_protection=False)
        kept = {name: world.record("kept")[name] for name in ("account", "region")}
        environments.hand_over(load_settings(), Subject(environment="kept", **kept), "Blocked by Subnet", LATER)
        sweep(world, AFTER)
        said = [detail["reason"] for what, detail in world.said if what == "Environment Failed"]
        assert len(said) == 2
        assert "Blocked by Subnet" in said[1]


class TestWhatIsLeftWithoutAStackIsEnded:
    def test_whatever_its_deadline(self, world: World) -> None:
        world.launch(named("left"), count=2)
        report = sweep(world, LATER)
        assert why(report, "left") == "2 resources are left without a stack"
        (order,) = world.started().values()
        assert (order["environment"], order["begin"], order["application"]) == ("left", "termination", "webshop")
        assert (order["account"], order["region"]) == (WORKLOAD_ACCOUNT, REGION)
        assert world.call("plan_environment", {"order": order, "now": LATER})["begin"] == "termination"

    def test_but_not_while_its_execution_clears_up(self, world: World) -> None:
        world.launch(named("left"))
        world.run("left")
        assert decisions(sweep(world)) == {}

    def test_but_terminated_instances_are_nothing_that_is_left(self, world: World) -> None:
        """The tagging API lists them for an hour."""
        left = world.launch(named("left"))
        world.there("ec2").terminate_instances(InstanceIds=left)
        listed = session_tags(world)
        assert listed
        assert decisions(sweep(world)) == {}

    @pytest.mark.parametrize(
        "tags",
        [named("left", controller="111111111111/us-east-1/other"), {"Name": "somebody's"}],
        ids=["another controller's", "somebody's"],
    )
    def test_but_nothing_that_is_another_s(self, world: World, tags: Json) -> None:
        world.launch(tags)
        assert decisions(sweep(world)) == {}

    def test_but_nothing_that_is_protected(self, world: World) -> None:
        world.launch(named("left", protected="true"))
        assert decisions(sweep(world)) == {"left": "refuse"}
        assert world.started() == {}

    def test_but_not_what_belongs_to_a_stack(self, world: World) -> None:
        """Nobody waits for it, so that its resources alone would be ended."""
        world.ready()
        world.launch()
        report = sweep(world, LATER)
        assert decisions(report) == {ENVIRONMENT: "adopt"}
        assert [order["begin"] for order in world.started().values()] == ["tests"]


OTHER = "111111111111/us-east-1/other"


class TestWhatASweepAsks:
    def test_are_names_and_stacks_however_many_instances_there_are(self, world: World) -> None:
        for name in ("one", "two", "three"):
            world.run(name)
            world.stand(f"mayfly-{name}", named(name))
            world.launch(named(name), count=5)
        world.wire.forget()
        assert sweep(world, LATER)["counts"]["keep"] == 3
        asked = [name for name in world.wire.names() if name in ("GetTagValues", "GetResources", "DescribeStacks")]
        assert Counter(asked) == {"GetTagValues": 2, "DescribeStacks": 2}, "two targets"

    def test_are_whose_those_are_that_have_no_stack_twenty_names_a_call(self, world: World) -> None:
        for number in range(25):
            world.launch(named(f"left-{number:02}", controller=OTHER if number % 2 else CONTROLLER))
        world.wire.forget()
        assert len(decisions(sweep(world, LATER))) == 13
        filters = [
            {each["Key"]: each["Values"] for each in call["TagFilters"]} for call in world.wire.heard("GetResources")
        ]
        whose = [each for each in filters if "mayfly:controller" in each]
        assert [len(each["mayfly:environment"]) for each in whose] == [20, 5]
        assert len(filters) == 2 + 13, "another controller's are not looked at"

    def test_is_whose_the_resources_are_of_another_controllers_stack(self, world: World) -> None:
        world.stand("mayfly-theirs", named("theirs", controller=OTHER))
        world.stand("mayfly-odd", named("odd", controller=OTHER))
        world.launch(named("odd"))
        assert decisions(sweep(world, LATER)) == {"odd": "refuse"}


def session_tags(world: World) -> list[Json]:
    """What the tagging API lists of our instances."""
    found: list[Json] = world.there("resourcegroupstaggingapi").get_resources(ResourceTypeFilters=["ec2:instance"])[
        "ResourceTagMappingList"
    ]
    return found


class TestARecordOfWhatIsGone:
    def test_is_closed(self, world: World) -> None:
        remembered(world, "gone")
        report = sweep(world, LATER)
        assert decisions(report) == {"gone": "end"}
        (order,) = world.started().values()
        assert (order["begin"], order["account"], order["suite"]) == ("termination", WORKLOAD_ACCOUNT, "smoke")
        world.call("plan_environment", {"order": order, "now": LATER})
        ended = {"by": "sweep", "why": order["why"]}
        event = {"order": order, "deadline": DEADLINE, "ended": ended, "token": TOKEN, "now": LATER}
        assert world.call("delete_environment", event)["stack"] is None
        world.call("confirm_gone", {"order": order, "stack": None, "now": LATER})
        assert (world.record("gone")["stage"], "live" in world.record("gone")) == ("terminated", False)
        world.wire.forget()
        assert sweep(world)["counts"]["end"] == 0

    def test_is_left_while_it_is_young(self, world: World) -> None:
        remembered(world, "young")
        assert decisions(sweep(world, "2026-11-24T07:02:00.000Z")) == {}

    def test_is_left_while_its_execution_runs(self, world: World) -> None:
        remembered(world, "young")
        world.run("young")
        assert decisions(sweep(world)) == {}

    def test_of_a_release_is_none_of_ours(self, world: World) -> None:
        world.records("release").change("r-1", {"live": "release", "id": "r-1"})
        assert sweep(world)["counts"] == dict.fromkeys(("keep", "end", "wake", "adopt", "refuse"), 0)


class TestEverythingIsLookedAt:
    def test_on_every_page_of_stacks(self, world: World) -> None:
        names = [f"old-{number:02}" for number in range(51)]  # moto shows 50 on a page
        for name in names:
            world.stand(f"mayfly-{name}", named(name))
        report = world.call(SWEEP, asked(at_most=51))
        assert decisions(report) == dict.fromkeys(names, "end")
        assert len(world.started()) == 51

    def test_on_every_page_of_executions_resources_and_records(self, world: World) -> None:
        for name in ("one", "two", "three"):
            standing(world, name)
            world.run(name)
            remembered(world, f"{name}-gone")
            world.launch(named(f"{name}-left"))
        world.wire.small_pages()
        report = world.call(SWEEP, asked(LATER, at_most=10))
        assert report["counts"] == {"keep": 3, "end": 6, "wake": 0, "adopt": 0, "refuse": 0}
        assert len(world.wire.heard("ListExecutions")) == 7  # three pages, before and after; one of the bakes'

    def test_beyond_what_one_call_reads_of_records(self, world: World) -> None:
        facts = {"deadline": DEADLINE, "ceiling": CEILING, "planned_at": NOW, "account": WORKLOAD_ACCOUNT}
        for number in range(101):
            name = f"gone-{number:03}"
            world.records().change(name, facts | {"id": name, "region": REGION, "live": "environment"})
        assert sweep(world)["counts"]["end"] == 101

    def test_at_every_place(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MAYFLY_REGIONS", "us-east-1,eu-central-1")
        for account, region in (
            (CONTROLLER_ACCOUNT, "us-east-1"),
            (CONTROLLER_ACCOUNT, "eu-central-1"),
            (WORKLOAD_ACCOUNT, "us-east-1"),
            (WORKLOAD_ACCOUNT, "eu-central-1"),
        ):
            name = f"old-{account[0]}-{region}"
            world.stand(f"mayfly-{name}", named(name), region, account)
        world.call(SWEEP, asked(at_most=4))
        assert {name.partition("__")[0]: (at["account"], at["region"]) for name, at in world.started().items()} == {
            "old-1-us-east-1": (CONTROLLER_ACCOUNT, "us-east-1"),
            "old-1-eu-central-1": (CONTROLLER_ACCOUNT, "eu-central-1"),
            "old-2-us-east-1": (WORKLOAD_ACCOUNT, "us-east-1"),
            "old-2-eu-central-1": (WORKLOAD_ACCOUNT, "eu-central-1"),
        }

    def test_and_nowhere_else(self, world: World) -> None:
        world.stand("mayfly-elsewhere", named("elsewhere"), "eu-central-1")
        assert decisions(sweep(world)) == {}
        assert {call["RoleArn"].split(":")[4] for call in world.wire.heard("AssumeRole")} == {
            CONTROLLER_ACCOUNT,
            WORKLOAD_ACCOUNT,
        }


class TestAPlaceThatWasTakenOutOfTheConfiguration:
    def test_is_looked_at_as_long_as_something_lives_there(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        world.ready()
        world.run()
        monkeypatch.setenv("MAYFLY_ACCOUNTS", CONTROLLER_ACCOUNT)
        load_settings.cache_clear()
        assert decisions(sweep(world, LATER)) == {}, "it lives until its deadline"
        assert world.record()["stage"] != "terminated"
        assert decisions(sweep(world, AFTER)) == {ENVIRONMENT: "wake"}


class TestAPlaceThatIsClosedToUs:
    @pytest.fixture
    def report(self, world: World) -> Json:
        """A sweep that may not enter the first place, in which an environment lives by its record."""
        remembered(world, "unseen", account=CONTROLLER_ACCOUNT)
        standing(world, "due")
        world.wire.before("AssumeRole", lambda: self.close(world))
        return sweep(world)

    def close(self, world: World) -> None:
        world.wire.answer("AssumeRole", error="AccessDenied", message="who are you?")
        world.wire.before("AssumeRole", lambda: world.wire.recover("AssumeRole"))

    def test_keeps_no_other_from_being_swept(self, world: World, report: Json) -> None:
        assert [order["environment"] for order in world.started().values()] == ["due"]

    def test_is_reported(self, world: World, report: Json) -> None:
        (place,) = report["unseen"]
        assert place == f"{CONTROLLER_ACCOUNT}/{REGION}"
        assert "who are you?" in report["unseen"][place]
        assert written(world, report)["unseen"] == report["unseen"] == world.said[-1][1]["unseen"]

    def test_closes_no_record_of_what_may_well_stand_there(self, world: World, report: Json) -> None:
        assert decisions(report) == {"due": "end"}

    def test_counts_as_if_something_stood_there(
        self, capsys: pytest.CaptureFixture[str], world: World, report: Json
    ) -> None:
        assert counted(capsys)["PastDeadline"] == [2.0]


def counted(capsys: pytest.CaptureFixture[str]) -> Json:
    """The last metrics that a function wrote."""
    lines = [line for line in capsys.readouterr().out.splitlines() if '"SweepHalted"' in line]
    found: Json = json.loads(lines[-1])
    return found


class TestWhatIsEndedAndSleeps:
    ENDING: ClassVar[Json] = {"by": "tests", "outcome": "passed", "reason": "the tests passed", "at": NOW}

    def test_is_woken_by_the_next_sweep(self, world: World) -> None:
        """The ending was written; waking its execution failed three times."""
        world.ready()
        world.run()
        world.change(ending=self.ENDING)
        assert decisions(sweep(world, LATER)) == {ENVIRONMENT: "wake"}
        assert world.settled == [{"told": "Success", "taskToken": TOKEN, "output": "{}"}]

    def test_is_told_so_where_a_person_ended_its_creation(self, world: World) -> None:
        world.created()
        world.run()
        world.change(ending=self.ENDING | {"by": "request", "outcome": "cancelled", "reason": "ada: enough"})
        sweep(world, LATER)
        assert [(said["error"], said["cause"]) for said in world.settled] == [("EndedBefore", "ada: enough")]


class TestACreationThatWasBrokenOff:
    def test_is_ended_as_broken_and_not_adopted(self, world: World) -> None:
        world.created()
        assert decisions(sweep(world, LATER)) == {ENVIRONMENT: "end"}
        ((_, order),) = world.started().items()
        assert (order["begin"], order["aborted"]) == ("termination", True)
        ended = {"by": "sweep", "why": order["why"]}
        world.call("delete_environment", {**deletion(now=LATER), "order": order, "ended": ended})
        ending = world.record()["ending"]
        assert (ending["by"], ending["outcome"]) == ("failure", "broken")
        assert "broken off" in ending["reason"]

    def test_is_none_once_its_instances_ran(self, world: World) -> None:
        world.ready()
        assert decisions(sweep(world, LATER)) == {ENVIRONMENT: "adopt"}


class TestCaps:
    def due(self, world: World, count: int) -> list[str]:
        names = [f"due-{number}" for number in range(count)]
        for name in names:
            standing(world, name, record=False)
        return names

    def living(self, world: World, count: int) -> None:
        for number in range(count):
            standing(world, f"living-{number}", deadline=CEILING)
            world.run(f"living-{number}")

    def test_let_the_first_few_through(self, world: World) -> None:
        self.due(world, 3)
        assert sweep(world)["halted"] == ""
        assert len(world.started()) == 3

    def test_end_nothing_at_all_above_the_share(self, world: World) -> None:
        self.due(world, 4)
        self.living(world, 9)
        report = sweep(world)
        assert report["halted"] == "4 of 13 environments are to be ended; 3 may be (20, 30%)"
        assert report["counts"]["end"] == 4
        assert world.started() == {}

    def test_let_the_share_through(self, world: World) -> None:
        self.due(world, 4)
        self.living(world, 10)
        assert sweep(world)["halted"] == ""
        assert len(world.started()) == 4

    def test_end_nothing_at_all_above_the_number(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MAYFLY_SWEEP_MOST", "1")
        self.due(world, 2)
        assert "1 may be" in sweep(world)["halted"]
        assert world.started() == {}

    def test_count_what_an_execution_let_pass(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without its record nobody can wake it: it is ended beside it."""
        monkeypatch.setenv("MAYFLY_SWEEP_MOST", "1")
        for name in self.due(world, 2):
            world.run(name)
        report = sweep(world)
        assert report["counts"]["end"] == 2
        assert report["halted"]
        assert not world.started()

    def test_keep_nothing_from_being_adopted(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MAYFLY_SWEEP_MOST", "0")
        self.due(world, 1)
        standing(world, "orphan", deadline=CEILING)
        assert sweep(world)["halted"]
        assert [order["environment"] for order in world.started().values()] == ["orphan"]

    def test_are_told(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        self.due(world, 4)
        report = sweep(world)
        ((what, detail),) = world.said
        assert what == "Sweep Halted"
        assert (detail["halted"], detail["counts"], detail["key"]) == (
            report["halted"],
            report["counts"],
            report["key"],
        )
        metrics = counted(capsys)
        assert (metrics["SweepHalted"], metrics["PastDeadline"]) == ([1.0], [4.0])

    def test_are_lifted_by_who_approves_of_so_many(self, world: World) -> None:
        self.due(world, 5)
        assert sweep(world)["halted"]
        report = world.call(SWEEP, asked(at_most=5))
        assert (report["halted"], report["asked_by"]) == ("", "ops")
        assert len(world.started()) == 5
        assert world.said[-1][0] == "Sweep Completed"

    def test_do_not_bind_what_has_an_ending_or_a_deadline_of_its_own(self, world: World) -> None:
        ending = {"by": "tests", "outcome": "passed", "reason": "-", "at": NOW}
        for number in range(4):
            standing(world, f"past-{number}")
            standing(world, f"ended-{number}", deadline=CEILING, ending=ending)
        assert sweep(world)["halted"] == ""
        assert len(world.started()) == 8

    def test_let_others_end_where_some_cannot_be_ended_at_all(self, world: World) -> None:
        """Whatever keeps a record from being written: the next sweep tries again, and ends the rest as well."""
        stuck = {f"stuck-{number}" for number in range(4)}
        for name in stuck:
            standing(world, name)
        for later in ("2026-11-24T09:00:00.000Z", "2026-11-24T09:20:00.000Z"):
            standing(world, f"due-{later[14:16]}", record=False)
            report = sweep(world, later)
            assert report["halted"] == ""
            assert {*decisions(report)} >= stuck | {f"due-{later[14:16]}"}

    def test_are_not_lifted_by_who_approves_of_fewer(self, world: World) -> None:
        self.due(world, 5)
        assert "4 may be (4 approved)" in world.call(SWEEP, asked(at_most=4))["halted"]
        assert world.started() == {}


def only_its_own_records(world: World, *kinds: str) -> bool:
    """Whether a sweep wrote nothing to the table but that it was, and sums."""
    return {call["Key"]["pk"]["S"].partition("#")[0] for call in world.wire.heard("UpdateItem")} == {*kinds}


class TestADryRun:
    def everything(self, world: World) -> None:
        """One of each."""
        world.ready()
        world.run()  # to be woken
        standing(world, "due")
        standing(world, "orphan", deadline=CEILING)
        standing(world, "living", deadline="2026-11-24T09:00:00.000Z")  # to be warned of
        world.run("living")
        world.stand("mayfly-kept", {})
        remembered(world, "gone")

    def test_reports_what_the_real_one_does(self, world: World) -> None:
        self.everything(world)
        dry = sweep(world, dry_run=True)
        dry_written = written(world, dry)
        real = sweep(world)
        assert set(real["counts"].values()) == {1, 2}
        assert (dry.pop("dry_run"), real.pop("dry_run")) == (True, False)
        assert dry == real
        assert dry_written == written(world, real) | {"dry_run": True}

    def test_reports_a_halt_as_the_real_one_does(self, world: World) -> None:
        for number in range(4):
            standing(world, f"due-{number}", record=False)
        dry, real = sweep(world, dry_run=True), sweep(world)
        assert dry["halted"] == real["halted"] != ""

    def test_starts_tells_and_changes_nothing(self, world: World) -> None:
        self.everything(world)
        world.wire.forget()
        report = sweep(world, dry_run=True)
        assert report["counts"]["end"] == 2
        assert (world.started(), world.settled, world.said) == ({}, [], [])
        looking = ("List", "Describe", "Get", "Query", "BatchGet", "AssumeRole")
        assert [name for name in world.wire.names() if not name.startswith(looking)] == ["PutObject", "UpdateItem"]
        assert only_its_own_records(world, "sweep")
        assert world.record(report["key"], "sweep")["dry_run"] is True

    def test_can_be_asked_for_on_the_bus(self, world: World) -> None:
        standing(world, "due")
        report = world.call(SWEEP, asked(dry_run=True))
        assert (decisions(report), report["dry_run"]) == ({"due": "end"}, True)
        assert world.started() == {}


class TestTheReport:
    def test_holds_every_decision_with_its_reason(self, world: World) -> None:
        TestADryRun().everything(world)
        report = sweep(world)
        found = written(world, report)
        every = {each["environment"]: each["action"] for each in [*found["decisions"], *found["kept"]]}
        assert every == {
            ENVIRONMENT: "wake",
            "due": "end",
            "orphan": "adopt",
            "living": "keep",
            "kept": "refuse",
            "gone": "end",
        }
        assert all(each["reason"] for each in [*found["decisions"], *found["kept"]])
        assert found["counts"] == report["counts"]
        assert (found["at"], found["asked_by"], found["halted"]) == (AFTER, "schedule", "")

    def test_lies_under_its_day_time_and_invocation(self, world: World) -> None:
        assert sweep(world)["key"] == "sweeps/2026/11/24/084735-52fdfc07.json"

    def test_is_written_before_anything_is_done(self, world: World) -> None:
        """Whatever happens then, what was decided can be read."""
        standing(world, "due")
        sweep(world)
        assert world.wire.names().index("PutObject") < world.wire.names().index("StartExecution")

    @pytest.mark.parametrize("code", ["AccessDenied", "NoSuchBucket", "SlowDown"])
    def test_that_s3_does_not_take_keeps_nothing_from_being_ended_and_is_written_by_the_next_sweep_that_can(
        self, world: World, code: str
    ) -> None:
        standing(world, "due")
        world.wire.answer("PutObject", code, "not now")
        first = sweep(world)
        assert len(world.wire.heard("StartExecution")) == 1
        assert code in first["unwritten"]
        ((_, said),) = world.said
        assert said["unwritten"] == first["unwritten"]
        assert "live" in world.record(first["key"], "late-report")
        assert sweep(world, LATER)["late"] == []
        world.wire.recover("PutObject")
        last = sweep(world, MUCH_LATER)
        assert first["key"] in written(world, last)["late"]
        assert written(world, first)["decisions"] == [{**each} for each in first["decisions"]]
        assert not {"live", "report"} & world.record(first["key"], "late-report").keys()
        assert sweep(world, MUCH_LATER)["late"] == []

    def test_that_a_version_before_kept_in_the_sweep_s_record_is_written(self, world: World) -> None:
        key, report = "sweeps/2026/11/24/070000-52fdfc07.json", {"at": NOW}
        world.records("sweep").change(key, {"id": key, "key": key, "live": "sweep", "report": json.dumps(report)})
        assert sweep(world)["late"] == [key]
        assert written(world, {"key": key}) == report
        assert not {"live", "report"} & world.record(key, "sweep").keys()

    def test_that_neither_s3_nor_the_table_takes_is_in_the_log_and_keeps_nothing_from_being_ended(
        self, world: World, caplog: pytest.LogCaptureFixture
    ) -> None:
        standing(world, "due")
        world.wire.answer("PutObject", "SlowDown", "not now")
        world.wire.answer("UpdateItem", "ProvisionedThroughputExceededException", "not now")
        report = sweep(world)
        assert len(world.wire.heard("StartExecution")) == 1
        (logged,) = [vars(line)["report"] for line in caplog.records if "report" in vars(line)]
        assert logged["decisions"] == report["decisions"]
        # What is logged so is counted as a failure of the sweep, which rings an alarm.
        assert "its report" in [vars(line).get("about") for line in caplog.records]

    def test_that_is_too_large_for_the_table_too_keeps_nothing_from_being_ended(self, world: World) -> None:
        standing(world, "due")
        world.wire.answer("PutObject", "SlowDown", "not now")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("mayfly.workflows.reporting._ROOM", 10)
            report = sweep(world)
        assert len(world.wire.heard("StartExecution")) == 1
        assert world.record(report["key"], "sweep")["counts"] == report["counts"]

    def test_that_the_bus_does_not_take_is_announced_by_the_next_sweep_and_keeps_nothing_from_being_done(
        self, world: World
    ) -> None:
        world.wire.answer("PutEvents", FailedEntryCount=1, Entries=[{"ErrorCode": "x", "ErrorMessage": "not now"}])
        report = sweep(world)
        assert world.record(report["key"], "sweep")["counts"] == report["counts"]
        assert world.record("live", "sum")["at"] == AFTER
        world.wire.recover("PutEvents")
        world.wire.forget()
        for _ in range(2):
            sweep(world, LATER)
        assert [said["key"] for _, said in world.said].count(report["key"]) == 1
        assert len(world.said) == 3

    def test_is_announced(self, world: World) -> None:
        standing(world, "due")
        report = sweep(world)
        assert world.said == [
            (
                "Sweep Completed",
                {key: report[key] for key in ("at", "asked_by", "counts", "halted", "unseen", "key", "unwritten")}
                | {"refused": []},
            )
        ]

    def test_is_at_the_time_that_the_event_was_sent(self, world: World) -> None:
        standing(world, "due")
        assert decisions(world.call(SWEEP, asked("2026-11-24T07:03:00Z"))) == {"due": "adopt"}


class TestWarnings:
    def living(self, world: World, name: str = "living", **change: Any) -> None:
        standing(world, name, **({"owner_topic": world.topic} | change))
        world.run(name)

    def warned(self, world: World) -> list[Json]:
        return [detail for what, detail in world.said if what == "Environment Expiring"]

    def test_reach_the_bus_once(self, world: World) -> None:
        self.living(world)
        for now in (NEAR, "2026-11-24T07:25:00.000Z", "2026-11-24T07:40:00.000Z"):
            sweep(world, now)
        (detail,) = self.warned(world)
        expected = {"environment": "living", "deadline": DEADLINE, "ceiling": CEILING, "minutes_left": 27}
        assert {key: detail[key] for key in expected} == expected
        assert world.record("living")["warned"] == [30]
        assert world.history("living").count("warned") == 1

    def test_say_how_to_extend(self, world: World) -> None:
        """What they show can be put on the bus as it is."""
        self.living(world)
        sweep(world, NEAR)
        (detail,) = self.warned(world)
        shown = detail["to_extend"]
        assert EnvironmentExtensionRequested.model_validate(shown).environment == "living"
        answer = world.call("accept_extension", on_the_bus("Environment Extension Requested", shown))
        assert answer["accepted"]

    def test_come_for_each_of_the_application_s_minutes(self, world: World) -> None:
        self.living(world, warn_minutes_before=[120, 30])
        for now in (LATER, NEAR, "2026-11-24T07:30:00.000Z"):
            sweep(world, now)
        assert [detail["minutes_left"] for detail in self.warned(world)] == [39, 27]

    def test_come_anew_of_a_deadline_that_was_moved(self, world: World) -> None:
        self.living(world)
        sweep(world, NEAR)
        detail = {"environment": "living", "minutes": 60, "why": "-", "requested_by": "dev"}
        world.call("accept_extension", on_the_bus("Environment Extension Requested", detail))
        sweep(world, "2026-11-24T07:40:00.000Z")
        assert len(self.warned(world)) == 1
        sweep(world, "2026-11-24T08:20:00.000Z")
        assert [detail["deadline"] for detail in self.warned(world)] == [DEADLINE, "2026-11-24T08:47:34.120Z"]

    @pytest.mark.parametrize(
        ("now", "change"),
        [
            ("2026-11-24T07:17:33.000Z", {}),
            (JUST_AFTER, {}),
            (NEAR, {"ending": {"by": "tests", "outcome": "passed", "reason": "-", "at": NOW}}),
            (NEAR, {"stage": "creating"}),
            (NEAR, {"stage": "terminating"}),
            (NEAR, {"warn_minutes_before": []}),
        ],
        ids=["too early", "too late", "ended", "being built", "being ended", "not wanted"],
    )
    def test_do_not_come(self, world: World, now: str, change: Json) -> None:
        self.living(world, **change)
        sweep(world, now)
        assert self.warned(world) == []

    def test_are_not_given_by_a_dry_run(self, world: World) -> None:
        self.living(world)
        sweep(world, NEAR, dry_run=True)
        assert self.warned(world) == []
        assert "warned" not in world.record("living")

    def test_come_while_ending_is_halted(self, world: World) -> None:
        self.living(world)
        world.switch()
        sweep(world, NEAR)
        assert len(self.warned(world)) == 1

    def test_of_a_record_that_was_lost_say_what_is_not_known(self, world: World) -> None:
        self.living(world)
        world.change("living", owner=None)
        sweep(world, NEAR)
        assert [detail["owner"] for detail in self.warned(world)] == ["unknown"]


class TestALostTable:
    def test_is_none_of_a_sweep_s_business(self, world: World) -> None:
        standing(world, "due")
        standing(world, "living")
        world.run("living")
        world.launch(named("left"))
        world.stand("mayfly-kept", {})
        world.own("dynamodb").delete_table(TableName=world.table)
        report = sweep(world, JUST_AFTER)
        assert decisions(report) == {"due": "end", "left": "end", "kept": "refuse"}
        assert {order["environment"]: order["begin"] for order in world.started().values()} == {
            "due": "termination",
            "left": "termination",
        }

    def test_and_what_it_starts_destroys_all_the_same(self, world: World) -> None:
        stack = standing(world, "due")
        world.own("dynamodb").delete_table(TableName=world.table)
        sweep(world)
        (order,) = world.started().values()
        world.call("plan_environment", {"order": order, "now": AFTER})
        event = {"deadline": "", "ended": {"by": "sweep", "why": order["why"]}, "token": TOKEN, "now": AFTER}
        world.call("delete_environment", {"order": order} | event)
        assert world.stack(stack) is None


class TestWhatCannotBeCarriedOut:
    def test_keeps_nothing_else_from_being_done(self, world: World, capsys: pytest.CaptureFixture[str]) -> None:
        for name in ("one", "two", "three"):
            standing(world, name)
        world.wire.answer("StartExecution", error="ThrottlingException")
        world.wire.before("StartExecution", lambda: world.wire.before("StartExecution", recover))

        def recover() -> None:
            world.wire.recover("StartExecution")

        sweep(world)
        listed = world.own("stepfunctions").list_executions(stateMachineArn=world.environment_machine)["executions"]
        assert len(listed) == 2
        assert counted(capsys)["SweepFailures"] == [1.0]
        world.wire.forget()
        sweep(world)
        assert len(world.started()) == 1

    @pytest.mark.parametrize(
        ("event", "expected"),
        [
            (asked(at_most=-1), "at_most: "),
            (asked(at_most=10**6), "at_most: "),
            (asked(dry_run="yes"), "dry_run: Input should be a valid boolean"),
            (asked(why=""), "why: "),
            (asked(everything=True), "everything: Extra inputs are not permitted"),
            (on_the_bus("Sweep Requested", {}), "why: Field required"),
        ],
        ids=["less than nothing", "too many", "words", "no reason", "an unknown field", "nothing"],
    )
    def test_or_not_be_understood_lands_among_the_dead_letters(self, world: World, event: Json, expected: str) -> None:
        standing(world, "due")
        world.wire.forget()
        answer = world.call(SWEEP, event)
        assert not answer["accepted"]
        assert expected in answer["reason"]
        assert world.dead_letters() == [{"function": SWEEP, "reason": answer["reason"], "message": event}]
        assert world.wire.names() == ["SendMessage"]


def test_the_clock_of_a_sweep_is_its_input(world: World) -> None:
    """Not the machine's: the same sweep of the same world decides the same, whenever it runs."""
    standing(world, "due")
    there = datetime.fromisoformat(AFTER).astimezone(UTC)
    assert decisions(sweep(world, there.isoformat(), dry_run=True)) == decisions(sweep(world, AFTER)) == {"due": "end"}
