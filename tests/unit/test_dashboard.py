"""The dashboard and the alarms watch what is really measured."""

import json
import re
from pathlib import Path

import pytest

from accept import widgets
from tests.blueprint import INSTALLATION, template

ROOT = Path(__file__).resolve().parents[2]
RESOURCES = template(INSTALLATION)["Resources"]
BODY = json.loads(RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
SOURCE = "\n".join(
    file.read_text() for folder in ("functions", "layers/mayfly/mayfly") for file in (ROOT / folder).rglob("*.py")
)


def lines():
    """Every metric on the dashboard."""
    return widgets.lines(BODY)


def alarms():
    """Every metric that an alarm watches, likewise."""
    for each in RESOURCES.values():
        if each["Type"] == "AWS::CloudWatch::Alarm":
            properties = each["Properties"]
            dimensions = {one["Name"]: one["Value"] for one in properties["Dimensions"]}
            yield properties["Namespace"], properties["MetricName"], dimensions


def shown():
    """The names of Mayfly's own metrics on the dashboard."""
    return {name for namespace, name, _ in lines() if namespace == "Mayfly"}


WATCHED = {name for namespace, name, _ in alarms() if namespace == "Mayfly"}


# Of AWS's own metrics, the dimensions that it emits them with:
# https://docs.aws.amazon.com/step-functions/latest/dg/procedure-cw-metrics.html, .../sqs-available-cloudwatch-metrics,
# .../lambda/latest/dg/monitoring-metrics-types.html, .../apigateway/latest/developerguide/http-api-metrics.html
OF_AWS = {
    "AWS/States": {"StateMachineArn"},
    "AWS/SQS": {"QueueName"},
    "AWS/Lambda": {"FunctionName"},
    "AWS/ApiGateway": {"ApiId"},
}


@pytest.mark.parametrize(
    ("namespace", "name", "dimensions"), [each for each in [*lines(), *alarms()] if each[0] != "Mayfly"]
)
def test_a_metric_of_aws_is_watched_with_the_dimensions_that_it_has(namespace, name, dimensions):
    assert dimensions.keys() == OF_AWS[namespace], name


def test_an_expression_reckons_with_what_is_there():
    for widget in BODY["widgets"]:
        listed = widget["properties"]["metrics"]
        ids = {each[-1].get("id") for each in listed if isinstance(each[-1], dict)}
        for expression in (each[0]["expression"] for each in listed if isinstance(each[0], dict)):
            assert "SEARCH" in expression or set(re.findall(r"[a-z]\w*", expression)) <= ids


@pytest.mark.parametrize("name", sorted(shown() | WATCHED))
def test_a_metric_that_is_watched_is_published(name):
    assert f'"{name}"' in SOURCE


def test_the_dashboard_shows_what_it_is_for():
    assert shown() >= {
        "InstancesFailed",
        "InstancesLaunched",
        "Environments",
        "OldestEnvironmentHours",
        "PastDeadline",
        "ImageReachHours",
        "UsdPerHour",
    }


def test_no_widget_covers_another():
    cells = [
        (column, row)
        for widget in BODY["widgets"]
        for column in range(widget["x"], widget["x"] + widget["width"])
        for row in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(cells) == len(set(cells))


def test_every_alarm_tells_somebody_and_says_what_is_wrong():
    for name, each in RESOURCES.items():
        if each["Type"] == "AWS::CloudWatch::Alarm":
            assert each["Properties"]["AlarmActions"] == [{"Ref": "Alarms"}], name
            assert each["Properties"]["AlarmDescription"], name
