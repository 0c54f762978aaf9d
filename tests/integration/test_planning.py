"""A release is planned into orders, and an order into a record with a deadline."""

import json
from typing import Any

import pytest
from msgspec import ValidationError
from msgspec.structs import replace

from mayfly.contract.orders import Order
from mayfly.contract.reader import Refused
from mayfly.contract.template import read
from mayfly.domain.cost import Prices
from tests.integration.world import (
    APPLICATION,
    BLUEPRINT,
    CEILING,
    CONTROLLER_ACCOUNT,
    DEADLINE,
    ENVIRONMENT,
    LATER,
    NOW,
    PUSHED,
    RELEASE,
    WORKLOAD_ACCOUNT,
    Json,
    World,
    an_order,
    creation,
    deletion,
    on_the_bus,
)

HERE, THERE = ({"account": WORKLOAD_ACCOUNT, "region": region} for region in ("us-east-1", "eu-central-1"))
A_MACHINE = "Resources: {One: {Type: 'AWS::EC2::Instance', Properties: {InstanceType: t3.micro}}}"
A_QUEUE = "Resources: {Jobs: {Type: 'AWS::SQS::Queue'}}"


def plan(world: World, **change: Any) -> list[Json]:
    """The orders of a release."""
    event = {"release": RELEASE, "pushed": PUSHED | change, "now": NOW}
    orders: list[Json] = world.call("plan_release", event)["orders"]
    return orders


class TestAReleaseIsPlanned:
    def test_into_one_order_for_each_suite(self, world: World) -> None:
        smoke, look = plan(world)
        assert (smoke["environment"], smoke["suite"], smoke["kind"]) == (ENVIRONMENT, "smoke", "automated")
        assert (look["environment"], look["suite"], look["kind"]) == (f"{RELEASE}-look", "look", "manual")

    def test_with_all_that_a_life_needs_to_know(self, world: World) -> None:
        version = world.upload(BLUEPRINT.read_text())
        order = plan(world)[0]
        assert {name: order[name] for name in ("application", "version", "artifact")} == {
            name: PUSHED[name] for name in ("application", "version", "artifact")
        }
        assert order["image"] == "ami-12c6146b"
        assert order["blueprint"] == {"key": "single.yaml", "version_id": version}
        own = ["owner", "owner_topic", "parameters", "instance_count", "account"]
        own += ["lifetime_minutes", "ceiling_minutes", "warn_minutes_before"]
        assert {name: order[name] for name in own} == {name: APPLICATION[name] for name in own}

    def test_in_the_controller_s_own_account_and_region_unless_told_otherwise(self, world: World) -> None:
        world.configure(account=None)
        assert {(order["account"], order["region"]) for order in plan(world)} == {(CONTROLLER_ACCOUNT, "us-east-1")}

    def test_where_its_application_says(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MAYFLY_REGIONS", "us-east-1,eu-central-1")
        world.configure(region="eu-central-1")
        assert {(order["account"], order["region"]) for order in plan(world)} == {(WORKLOAD_ACCOUNT, "eu-central-1")}

    def test_with_all_of_its_targets_the_first_before_the_others(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MAYFLY_REGIONS", "us-east-1,eu-central-1")
        images = {"us-east-1": "ami-1", "eu-central-1": "ami-2"}
        channel = {"id": "base/stable", "family": "base", "channel": "stable", "version": 1, "live": "channel"}
        world.records("channel").change("base/stable", channel | {"image": "ami-1", "regions": images})
        world.configure(account=None, targets=[THERE, HERE])
        for order in plan(world):
            assert (order["account"], order["region"], order["image"]) == (WORKLOAD_ACCOUNT, "eu-central-1", "ami-2")
            places = [(each["region"], each["image"]) for each in order["demand"]["places"]]
            assert places == [("eu-central-1", "ami-2"), ("us-east-1", "ami-1")]

    def test_with_the_parameters_of_each_of_its_targets(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MAYFLY_REGIONS", "us-east-1,eu-central-1")
        world.upload("Parameters: {SubnetId: {Type: String, Default: ''}}\n" + A_MACHINE)
        more = {"account": None, "image": None, "parameters": {"SubnetId": "subnet-0"}}
        world.configure(**more, targets=[HERE, THERE | {"parameters": {"SubnetId": "subnet-there"}}])
        order = Order.read(plan(world)[0])
        assert [each.parameters for each in order.demand.places] == [{}, {"SubnetId": "subnet-there"}]
        assert order.told == {"SubnetId": "subnet-0"}
        there = replace(order, region="eu-central-1")
        assert there.told == {"SubnetId": "subnet-there"}
        world.configure(**more, targets=[HERE | {"parameters": {"SubnetId": "subnet-here"}}])
        assert Order.read(plan(world)[0]).told == {"SubnetId": "subnet-here"}

    def test_with_the_cheapest_first_where_its_application_prefers_that(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MAYFLY_REGIONS", "us-east-1,eu-central-1")
        world.upload(A_MACHINE)
        costs = {"us-east-1": 1.0, "eu-central-1": 2.0}
        monkeypatch.setattr(Prices, "an_hour", lambda _, region, *__: costs.get(region))
        more = {"account": None, "image": None, "parameters": {}, "targets": [THERE, HERE]}
        world.configure(**more, prefer="cheapest")
        cheap = plan(world)[0]
        assert [each["region"] for each in cheap["demand"]["places"]] == ["us-east-1", "eu-central-1"]
        assert cheap["region"] == "us-east-1"
        world.configure(**more)
        named = plan(world)[0]
        assert named["region"] == "eu-central-1"
        assert named["demand"]["cents"] == cheap["demand"]["cents"] == 200 * APPLICATION["lifetime_minutes"] // 60
        costs.pop("us-east-1")  # a price that nobody knows is the last
        world.configure(**more, prefer="cheapest")
        assert plan(world)[0]["region"] == "eu-central-1"

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"account": None}, "targets.1: expected one of 111111111111/us-east-1, .*, but it is 222222222222/eu-c"),
            ({}, "expected targets, or account and region, but there are both"),
            (
                {"account": None, "targets": [HERE | {"parameters": {"Subnet": "subnet-1"}}]},
                "targets.0.parameters: expected those that the blueprint single.yaml declares .*does not know Subnet",
            ),
            ({"account": None, "targets": 2 * [HERE]}, "expected targets that differ, but 222222222222/us-east-1 is"),
            (
                {"targets": [], "prefer": "cheapest"},
                "expected targets, of which the cheapest is preferred, but there are none",
            ),
        ],
    )
    def test_not_where_its_targets_are_wrong(self, world: World, change: Json, said: str) -> None:
        world.configure(**{"targets": [HERE, THERE]} | change)
        with pytest.raises(Refused, match=said):
            plan(world)

    def test_not_where_a_permanent_environment_would_follow_its_targets(self, world: World) -> None:
        own = {"name": "production", "instance_count": 3, "account": WORKLOAD_ACCOUNT}
        world.configure(account=None, targets=[HERE], permanent=[own])
        with pytest.raises(Refused, match="expected account and region of each permanent environment where there are"):
            plan(world)

    def test_not_in_two_regions_on_an_image_of_one(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MAYFLY_REGIONS", "us-east-1,eu-central-1")
        world.configure(account=None, targets=[HERE, THERE])
        with pytest.raises(Refused, match="targets: expected one Region, because the image of base/stable is"):
            plan(world)

    def test_on_the_image_that_the_channel_points_to_now(self, world: World) -> None:
        world.configure(image={"family": "base", "channel": "candidate"})
        world.put("/mayfly/images/base/candidate", "ami-1e749f67")
        assert {order["image"] for order in plan(world)} == {"ami-1e749f67"}

    def test_and_its_record_names_the_environments(self, world: World) -> None:
        plan(world)
        record = world.record(RELEASE, "release")
        assert (record["stage"], record["image"]) == ("running", "ami-12c6146b")
        assert record["blueprint"].startswith("single.yaml ")
        assert (record["parameters"], record["instance_count"]) == (APPLICATION.get("parameters", {}), 1)
        assert record["suites"] == [
            {"suite": "smoke", "environment": ENVIRONMENT, "repetitions": []},
            {"suite": "look", "environment": f"{RELEASE}-look", "repetitions": []},
        ]
        assert record["history"][-1]["why"] == "2 suites on ami-12c6146b from single.yaml"

    def test_with_what_its_blueprint_wants_to_be_told(self, world: World) -> None:
        assert plan(world)[0]["declared"] == list(read(BLUEPRINT.read_text())["Parameters"])

    def test_without_a_count_where_its_blueprint_takes_none(self, world: World) -> None:
        world.upload(A_QUEUE)
        world.configure(parameters={})
        order = plan(world)[0]
        assert (order["declared"], order["instance_count"]) == ([], None)
        world.call("plan_environment", {"order": order, "now": NOW})
        assert world.record()["instance_count"] == 0

    def test_without_an_image_where_its_blueprint_takes_none(self, world: World) -> None:
        world.upload(A_QUEUE)
        world.configure(parameters={}, image=None)
        order = plan(world)[0]
        assert (order["image"], order["channel"]) == (None, None)
        assert world.record(RELEASE, "release")["history"][-1]["why"] == "2 suites from single.yaml"
        world.call("plan_environment", {"order": order, "now": NOW})
        world.call("create_environment", creation(order=order))
        (call,) = world.wire.heard("CreateStack")
        assert call["Parameters"] == []

    def test_not_at_all_where_its_blueprint_boots_an_image_and_none_is_configured(self, world: World) -> None:
        world.configure(image=None)
        with pytest.raises(
            Refused, match=r"image: expected a family and a channel, because the blueprint single\.yaml"
        ):
            plan(world)

    def test_into_the_same_orders_when_it_is_repeated(self, world: World) -> None:
        assert plan(world) == plan(world)

    def test_whatever_a_later_version_pushed_besides(self, world: World) -> None:
        assert plan(world, said_by_a_later_version={"anything": [1]}) == plan(world)

    def test_into_orders_that_the_next_function_takes(self, world: World) -> None:
        for order in plan(world):
            world.call("plan_environment", {"order": order, "now": NOW})
            assert world.record(order["environment"])["stage"] == "planned"


class TestAReleaseIsRefused:
    def test_of_an_application_that_nobody_configured(self, world: World) -> None:
        with pytest.raises(Refused, match="there is no parameter /mayfly/applications/nobody in Parameter Store"):
            plan(world, application="nobody")

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            ({"instance_count": -1}, "instance_count: Input should be greater than or equal to 0, but it is -1"),
            ({"suites": []}, "suites: "),
            ({"image": {"family": "base", "chanel": "x"}}, "image.chanel: Extra inputs are not permitted"),
            ({"owner": None}, "owner: "),
        ],
    )
    def test_where_the_configuration_is_wrong_and_the_field_is_named(
        self, world: World, change: Json, named: str
    ) -> None:
        world.configure(**change)
        with pytest.raises(Refused) as refusal:
            plan(world)
        assert str(refusal.value).startswith("the parameter /mayfly/applications/webshop is wrong: ")
        assert named in str(refusal.value)

    def test_where_the_configuration_is_no_json(self, world: World) -> None:
        world.put("/mayfly/applications/webshop", "owner: me")
        with pytest.raises(Refused, match="Invalid JSON"):
            plan(world)

    def test_where_the_channel_points_nowhere(self, world: World) -> None:
        world.configure(image={"family": "base", "channel": "candidate"})
        with pytest.raises(Refused, match="/mayfly/images/base/candidate"):
            plan(world)

    def test_where_the_blueprint_was_not_uploaded(self, world: World) -> None:
        world.configure(blueprint="fleets/webshop.yaml")
        with pytest.raises(Refused, match=r"no blueprint fleets/webshop\.yaml in the bucket mayfly-blueprints"):
            plan(world)

    def test_where_the_blueprint_is_one_byte_too_large(self, world: World) -> None:
        world.upload("x" * 1_000_001)
        with pytest.raises(Refused, match=r"single\.yaml has 1000001 bytes; CloudFormation takes 1000000 at most"):
            plan(world)

    def test_but_not_where_it_just_fits(self, world: World) -> None:
        text = BLUEPRINT.read_text()
        world.upload(text + "#" * (1_000_000 - len(text.encode())))
        assert plan(world)

    def test_where_the_blueprint_does_not_know_what_its_application_configures(self, world: World) -> None:
        world.upload(A_QUEUE)
        with pytest.raises(Refused, match=r"parameters: .* single\.yaml declares \(none\), but .* SubnetId"):
            plan(world)

    def test_where_a_parameter_of_the_blueprint_has_no_value_at_a_target(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MAYFLY_REGIONS", "us-east-1,eu-central-1")
        world.upload("Parameters: {SubnetId: {Type: String}}\n" + A_MACHINE)
        more = {"account": None, "image": None, "parameters": {}}
        world.configure(**more, targets=[HERE | {"parameters": {"SubnetId": "subnet-here"}}, THERE])
        said = (
            f"parameters: expected a value of SubnetId in {WORKLOAD_ACCOUNT}/{THERE['region']}, because the blueprint"
        )
        with pytest.raises(Refused, match=said):
            plan(world)
        world.configure(**more, targets=[{**each, "parameters": {"SubnetId": "subnet-0"}} for each in (HERE, THERE)])
        assert plan(world)

    def test_but_not_where_mayfly_gives_it_its_value(self, world: World) -> None:
        world.put("/mayfly/pools/vpcs", '{"range": "10.64.0.0/12", "prefix": 20}')
        names = ("VpcCidr", "PublicSubnetCidrs", "PrivateSubnetCidrs", "PuppetServer", "PuppetSecret", "EnvironmentId")
        declared = ", ".join(f"{name}: {{Type: String}}" for name in names)
        world.upload(f"Parameters: {{{declared}}}\n" + A_MACHINE)
        world.configure(image=None, parameters={"PuppetServer": "puppet.example.com"}, pool="vpcs")
        assert plan(world)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("Resources:\n  Queue: {Type: 'AWS::SQS::Queue'\n", r"line 3: did not find expected"),
            ("{Parameters: {}}", "expected a CloudFormation template with Resources"),
            ("{Resources: {}, Parameters: [Size]}", "Parameters: expected a name and a definition for each"),
        ],
    )
    def test_where_the_blueprint_is_no_template(self, world: World, text: str, said: str) -> None:
        world.upload(text)
        with pytest.raises(Refused, match=f"the blueprint single.yaml cannot be read: {said}"):
            plan(world)

    def test_before_its_record_says_that_it_runs(self, world: World) -> None:
        with pytest.raises(Refused):
            plan(world, application="nobody")
        assert world.record(RELEASE, "release") == {}


def test_a_blueprint_that_changes_meanwhile_changes_no_environment_of_the_release(world: World) -> None:
    order = plan(world)[0]
    world.upload(BLUEPRINT.read_text().replace("t3.micro", "t3.large"))
    world.call("plan_environment", {"order": order, "now": NOW})
    world.call("create_environment", creation(order=order))
    (call,) = world.wire.heard("CreateStack")
    assert call["TemplateBody"] == BLUEPRINT.read_text()


class TestAnEnvironmentIsPlanned:
    def test_with_its_lifetime_from_now_as_deadline(self, world: World) -> None:
        answer = world.call("plan_environment", {"order": an_order(), "now": NOW})
        assert len(answer.pop("token")) == 43
        place = {"account": WORKLOAD_ACCOUNT, "region": "us-east-1", "image": an_order()["image"]}
        said = {"environment": ENVIRONMENT, "deadline": DEADLINE, "begin": "creation", "admitted": True}
        assert answer == said | {"place": place}

    def test_with_its_room_where_nothing_bounds_it(self, world: World) -> None:
        assert world.call("plan_environment", {"order": an_order(), "now": NOW})["admitted"]
        assert world.record()["reserved"]

    def test_with_its_room_where_it_fits(self, world: World) -> None:
        order = an_order(demand={"takes": {"instances": 1}, "ceilings": {"application:webshop|environments": 1}})
        assert world.call("plan_environment", {"order": order, "now": NOW})["admitted"]
        assert world.record()["reserved"]["application:webshop|environments"] == 1

    def test_and_asks_for_its_room_where_it_does_not_fit(self, world: World) -> None:
        order = an_order(demand={"takes": {"instances": 1}, "ceilings": {"application:webshop|environments": 0}})
        assert not world.call("plan_environment", {"order": order, "now": NOW})["admitted"]
        assert "reserved" not in world.record()

    def test_and_asks_where_nobody_has_looked_what_there_is_yet(self, world: World) -> None:
        order = an_order(demand={"takes": {"vpcs": 1}})
        assert not world.call("plan_environment", {"order": order, "now": NOW})["admitted"]
        assert "reserved" not in world.record()

    def test_and_counts_for_what_others_are_bounded_by(self, world: World) -> None:
        world.records("ledger").change("room", {"counts": {"installation:|environments": 1}, "version": 1})
        assert world.call("plan_environment", {"order": an_order(demand={"takes": {"instances": 1}}), "now": NOW})[
            "admitted"
        ]
        assert world.record("room", "ledger")["counts"] == {"installation:|environments": 2}

    def test_and_its_record_says_what_it_will_be(self, world: World) -> None:
        world.planned()
        record = world.record()
        order = an_order()
        for name in ("release", "application", "version", "suite", "kind", "owner", "account", "region", "image"):
            assert record[name] == order[name]
        assert (record["stage"], record["planned_at"]) == ("planned", NOW)
        assert (record["deadline"], record["ceiling"]) == (DEADLINE, CEILING)
        assert record["warn_minutes_before"] == [30]
        assert record["history"][0]["why"] == DEADLINE
        assert "ending" not in record

    def test_and_is_remembered_for_the_set_days_after_its_ceiling(self, world: World) -> None:
        """Extensions move its deadline until there."""
        world.planned()
        assert world.record()["forget_after"] == 1_795_517_254 + 90 * 86_400

    def test_once_a_repetition_keeps_the_first_deadline(self, world: World) -> None:
        world.planned()
        assert world.call("plan_environment", {"order": an_order(), "now": LATER})["deadline"] == DEADLINE
        assert world.history() == ["planned"]

    def test_never_from_an_order_that_is_none(self, world: World) -> None:
        """Step Functions knows this error by its name and does not try again."""
        order = json.loads(json.dumps(an_order()))
        del order["artifact"]
        with pytest.raises(ValidationError, match="artifact"):
            world.call("plan_environment", {"order": order, "now": NOW})
        assert world.wire.calls == []


SUBJECT = {
    "environment": ENVIRONMENT,
    "account": WORKLOAD_ACCOUNT,
    "region": "us-east-1",
    "application": "webshop",
    "release": "unknown",
    "version": "unknown",
    "suite": "unknown",
    "kind": "unknown",
    "owner": "unknown",
    "deadline": DEADLINE,
    "why": "sweep: no execution waits for it",
}


@pytest.mark.parametrize("begin", ["tests", "termination"])
class TestALifeIsTakenUp:
    def adopt(self, world: World, begin: str, **change: Any) -> Json:
        answer = world.call("plan_environment", {"order": SUBJECT | {"begin": begin} | change, "now": LATER})
        assert not answer.pop("admitted")
        assert len(answer.pop("token")) == 43
        return answer

    def test_with_the_deadline_of_its_record(self, world: World, begin: str) -> None:
        world.ready()
        world.change(deadline="2026-11-24T09:00:00.000Z")
        before = world.record()
        assert self.adopt(world, begin) == {
            "environment": ENVIRONMENT,
            "deadline": "2026-11-24T09:00:00.000Z",
            "begin": begin,
        }
        after = world.record()
        assert {**after, "history": None} == {**before, "history": None}
        assert after["history"] == [
            *before["history"],
            {
                "at": LATER,
                "who": "plan_environment",
                "what": "adopted",
                "why": "sweep: no execution waits for it",
            },
        ]

    def test_without_a_record_one_is_begun_from_its_tags(self, world: World, begin: str) -> None:
        assert self.adopt(world, begin)["deadline"] == DEADLINE
        record = world.record()
        assert (record["stage"], record["planned_at"], record["live"]) == ("adopted", LATER, "environment")
        assert (record["application"], record["account"], record["release"]) == ("webshop", WORKLOAD_ACCOUNT, "unknown")
        assert record["forget_after"] == 1_795_506_454 + 90 * 86_400

    def test_without_a_record_its_deadline_is_its_ceiling(self, world: World, begin: str) -> None:
        """What its owner was promised is lost with the record; nothing is promised beyond the tag."""
        self.adopt(world, begin)
        assert world.record()["ceiling"] == world.record()["deadline"] == DEADLINE
        asked = {"environment": ENVIRONMENT, "minutes": 60, "why": "-", "requested_by": "dev"}
        assert not world.call("accept_extension", on_the_bus("Environment Extension Requested", asked))["accepted"]

    def test_without_any_deadline_it_is_over_now(self, world: World, begin: str) -> None:
        assert self.adopt(world, begin, deadline=None)["deadline"] == LATER

    def test_with_a_record_that_its_ending_began_anew_it_goes_by_its_tags(self, world: World, begin: str) -> None:
        world.ready()
        world.lose()
        world.call("delete_environment", deletion())
        assert self.adopt(world, begin)["deadline"] == DEADLINE
        assert world.record()["ending"]["by"] == "tests"

    def test_where_the_table_is_lost_too(self, world: World, begin: str) -> None:
        world.own("dynamodb").delete_table(TableName=world.table)
        assert self.adopt(world, begin)["deadline"] == DEADLINE


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"account": "333333333333"}, "333333333333/us-east-1"),
        ({"region": "eu-central-1"}, f"{WORKLOAD_ACCOUNT}/eu-central-1"),
        ({"account": "333333333333", "region": "eu-central-1"}, "333333333333/eu-central-1"),
    ],
)
def test_a_release_is_refused_where_no_sweep_looks(world: World, change: Json, place: str) -> None:
    """What is built at a place that is not configured would outlive everything."""
    world.configure(**change)
    with pytest.raises(Refused) as refusal:
        plan(world)
    expected = f"expected one of {CONTROLLER_ACCOUNT}/us-east-1, {WORKLOAD_ACCOUNT}/us-east-1, but it is {place}"
    assert str(refusal.value) == f"account, region: {expected}"
    assert world.record(RELEASE, "release") == {}


def test_a_lifetime_above_its_ceiling_is_refused(world: World) -> None:
    world.configure(lifetime_minutes=241)
    with pytest.raises(Refused, match="lifetime_minutes of at most ceiling_minutes, 240, but it is 241"):
        plan(world)


def test_a_topic_that_is_not_mayfly_s_is_refused(world: World) -> None:
    world.configure(owner_topic=f"arn:aws:sns:us-east-1:{CONTROLLER_ACCOUNT}:payments")
    with pytest.raises(Refused, match="owner_topic: "):
        plan(world)
