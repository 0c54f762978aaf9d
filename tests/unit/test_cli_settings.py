"""The command line knows of an installation what its functions are told."""

import pytest
from msgspec.structs import fields

from mayfly.settings import Incomplete, Settings, SignIn
from mayfly_cli.errors import Failed, explained
from mayfly_cli.installation import SETTINGS, Installation
from tests.blueprint import INSTALLATION, template

TEMPLATE = template(INSTALLATION)
REQUIRED = {field.encode_name for field in fields(Settings) if field.required}


def variables(node):
    """Every variable of Mayfly's that the template sets on functions."""
    if isinstance(node, dict):
        for key, inner in node.items():
            if key == "Variables":
                yield from (name for name in inner if name.startswith("MAYFLY_"))
            yield from variables(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from variables(inner)


def test_the_template_sets_the_settings_that_there_are_and_no_others():
    known = {field.encode_name for kind in (Settings, SignIn) for field in fields(kind)}
    assert set(variables(TEMPLATE)) == known


def test_every_setting_is_read_from_the_stack():
    assert REQUIRED - SETTINGS.keys() == set()


def test_the_stack_says_each_of_them():
    said = TEMPLATE["Outputs"].keys() | TEMPLATE["Parameters"].keys()
    assert {SETTINGS[name] for name in REQUIRED} - said == set()


def test_an_installation_that_lacks_what_this_version_needs_is_told_of_in_a_sentence():
    older = Installation("mayfly", "UPDATE_COMPLETE", {"TableName": "mayfly-records"}, {})
    with pytest.raises(Incomplete) as lacking:
        _ = older.settings
    told = explained(lacking.value)
    assert isinstance(told, Failed)
    assert "MAYFLY_CONTROLLER: Field required" in told.message
