"""The command line knows of an installation what its functions are told."""

from pathlib import Path

from samtranslator.yaml_helper import yaml_parse

from mayfly.settings import Settings
from mayfly_cli.installation import SETTINGS

TEMPLATE = yaml_parse((Path(__file__).resolve().parents[2] / "template.yaml").read_text())
REQUIRED = {field.alias for field in Settings.model_fields.values() if field.is_required()}


def test_every_setting_is_read_from_the_stack():
    assert REQUIRED - SETTINGS.keys() == set()


def test_the_stack_says_each_of_them():
    said = TEMPLATE["Outputs"].keys() | TEMPLATE["Parameters"].keys()
    assert {SETTINGS[name] for name in REQUIRED} - said == set()
