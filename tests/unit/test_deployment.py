"""When CloudFormation's Express mode is safe for an environment, and when it helps."""

from pathlib import Path
from typing import Any

import pytest

from mayfly.contract.template import read
from mayfly.domain.express import choose, obstacles

BLUEPRINTS = Path(__file__).resolve().parents[2] / "blueprints"
QUEUE = {"Type": "AWS::SQS::Queue"}
GROUP: dict[str, Any] = {"Type": "AWS::AutoScaling::AutoScalingGroup", "Properties": {"MinSize": "2"}}
SIGNALLED = GROUP | {"CreationPolicy": {"ResourceSignal": {"Count": 2}}}
TELLS = {"Type": "AWS::EC2::LaunchTemplate", "Properties": {"UserData": {"Fn::Sub": "tag mayfly:boot ready"}}}


def template(**resources: Any) -> dict[str, Any]:
    return {"Resources": resources}


class TestAutomatic:
    def test_takes_it_where_nothing_is_left_to_wait_for(self) -> None:
        chosen = choose("automatic", template(Jobs=QUEUE, Note={"Type": "AWS::SSM::Parameter"}))
        assert chosen
        assert chosen.express

    @pytest.mark.parametrize(
        ("resource", "why"),
        [
            ({"Type": "AWS::RDS::DBInstance"}, "It (AWS::RDS::DBInstance) is ready, or gone, some time after its call"),
            ({"Type": "AWS::CloudFormation::Stack"}, "It (AWS::CloudFormation::Stack) is ready, or gone"),
            ({"Type": "Custom::Anything"}, "It (Custom::Anything) is ready, or gone"),
            (SIGNALLED, "It waits for signals, and its instances do not say by the tag mayfly:boot"),
            (GROUP, "Mayfly would have to look again and again"),
            ({"Fn::ForEach": []}, "It (of no type) is ready, or gone"),
        ],
    )
    def test_leaves_it_where_it_is_not_safe_or_does_not_help(self, resource: Any, why: str) -> None:
        chosen = choose("automatic", template(Jobs=QUEUE, It=resource))
        assert chosen
        assert (chosen.express, why in chosen.why) == (False, True), chosen.why

    def test_leaves_it_where_a_transform_makes_what_nobody_knows(self) -> None:
        chosen = choose("automatic", template(Jobs=QUEUE) | {"Transform": "AWS::Serverless-2016-10-31"})
        assert chosen
        assert (chosen.express, "transform" in chosen.why) == (False, True)

    def test_leaves_it_for_what_is_shipped_whose_instances_signal(self) -> None:
        chosen = choose("automatic", read((BLUEPRINTS / "fleet.yaml").read_text()))
        assert chosen
        assert not chosen.express


class TestWanted:
    def test_is_taken_for_a_fleet_whose_instances_say_when_they_are_ready(self) -> None:
        chosen = choose("express", read((BLUEPRINTS / "fleet.yaml").read_text()))
        assert chosen
        assert (chosen.express, chosen.tells_boot) == (True, True)

    def test_is_taken_where_groups_say_how_many_there_are(self) -> None:
        chosen = choose("express", template(Fleet=GROUP))
        assert chosen
        assert (chosen.express, chosen.tells_boot) == (True, False)

    def test_is_taken_with_signals_only_where_tags_say_the_same(self) -> None:
        assert choose("express", template(Fleet=SIGNALLED)) is None
        chosen = choose("express", template(Fleet=SIGNALLED, Launch=TELLS))
        assert chosen
        assert chosen.tells_boot

    def test_is_refused_where_it_is_not_safe(self) -> None:
        unsafe = template(Jobs=QUEUE, Data={"Type": "AWS::DynamoDB::Table"})
        assert choose("express", unsafe) is None
        assert [path for path, _ in obstacles(unsafe)] == [("Resources", "Data", "Type")]


def test_standard_is_never_express() -> None:
    chosen = choose("standard", template(Jobs=QUEUE))
    assert chosen
    assert not chosen.express
