"""The dashboard and the alarms watch what is really measured."""

import json
import re
from pathlib import Path

import pytest
from samtranslator.yaml_helper import yaml_parse

ROOT = Path(__file__).resolve().parents[2]
RESOURCES = yaml_parse((ROOT / "template.yaml").read_text())["Resources"]
BODY = json.loads(RESOURCES["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"])
SOURCE = "\n".join(
    file.read_text() for folder in ("functions", "layers/mayfly/mayfly") for file in (ROOT / folder).rglob("*.py")
)


def shown():
    """The names of Mayfly's own metrics on the dashboard. "." and "..." repeat what the line before says."""
    for widget in BODY["widgets"]:
        namespace = name = ""
        for line in widget["properties"]["metrics"]:
            if isinstance(line[0], dict):
                yield from re.findall(r'MetricName="(\w+)"', line[0]["expression"])
            elif line[0] != "...":
                namespace = namespace if line[0] == "." else line[0]
                name = name if line[1] == "." else line[1]
                if namespace == "Mayfly":
                    yield name


WATCHED = {
    each["Properties"]["MetricName"]
    for each in RESOURCES.values()
    if each["Type"] == "AWS::CloudWatch::Alarm" and each["Properties"]["Namespace"] == "Mayfly"
}


@pytest.mark.parametrize("name", sorted(set(shown()) | WATCHED))
def test_a_metric_that_is_watched_is_published(name):
    assert f'"{name}"' in SOURCE


def test_the_dashboard_shows_what_it_is_for():
    assert set(shown()) >= {"Environments", "OldestEnvironmentHours", "PastDeadline", "ImageReachHours", "UsdPerHour"}


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
