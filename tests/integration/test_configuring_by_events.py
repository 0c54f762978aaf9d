"""`Application Change Requested`: what people ask of an application's configuration, whoever asked."""

import json
from typing import Any

import pytest

from tests.integration.api import Api
from tests.integration.world import BLUEPRINT, Json, World, on_the_bus

PARAMETER = "/mayfly/applications/webshop"
DOCUMENT: Json = {
    "owner": "team-shop@example.com",
    "blueprint": "single.yaml",
    "instance_count": 2,
    "image": {"family": "base"},
    "suites": [{"name": "smoke", "retries": 1}],
}


@pytest.fixture(autouse=True)
def _it_is_configured(world: World) -> None:
    world.upload(BLUEPRINT.read_text())
    world.put("/mayfly/images/base/stable", "ami-12c6146b")


def asked(world: World, document: Json | None = DOCUMENT, made_from: int = 1, **more: Any) -> Json:
    detail = {"application": "webshop", "document": document, "made_from": made_from} | more
    said = {"why": "one suite is enough", "requested_by": "ada@example.com"}
    return world.call("configure_application", on_the_bus("Application Change Requested", detail | said, "mayfly.api"))


def there(world: World) -> Json | None:
    ssm = world.own("ssm")
    try:
        return dict(json.loads(ssm.get_parameter(Name=PARAMETER)["Parameter"]["Value"]))
    except ssm.exceptions.ParameterNotFound:
        return None


def test_it_is_put_in_place_with_who_and_why(world: World, api: Api) -> None:
    assert asked(world)["version"] == 2
    assert there(world) == DOCUMENT
    said = api.of("viewer").get("/api/applications/webshop/configuration").json
    newest, before = said["versions"]
    assert (said["version"], newest["by"], newest["why"]) == (2, "ada@example.com", "one suite is enough")
    assert newest["document"] == DOCUMENT
    assert (before["version"], before["why"]) == (1, "")


def test_a_writer_without_a_description_is_not_taken_for_the_one_before(world: World, api: Api) -> None:
    asked(world)
    world.configure()
    newest = api.of("viewer").get("/api/applications/webshop/configuration").json["versions"][0]
    assert (newest["version"], newest["why"]) == (3, "")
    assert newest["by"] != "ada@example.com"


def test_it_is_done_once_however_often_it_comes(world: World) -> None:
    asked(world)
    assert asked(world)["version"] == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"made_from": 0}, "made_from: expected 1, which is the newest, but it is 0"),
        ({"document": DOCUMENT | {"instance_count": -1}}, "instance_count: Input should be greater than or equal to 0"),
        ({"document": DOCUMENT | {"blueprint": "no.yaml"}}, "blueprint: there is no blueprint no.yaml"),
        ({"document": DOCUMENT | {"account": "999999999999"}}, "account: account, region: expected one of"),
        ({"document": DOCUMENT | {"owner": "o" * 1000, "developers": ["g" * 1000] * 9}}, "at most 8192 characters"),
    ],
)
def test_what_is_wrong_is_refused_with_what_was_expected(world: World, change: Json, why: str) -> None:
    before = there(world)
    answer = asked(world, **change)
    assert not answer["accepted"]
    assert why in answer["reason"]
    assert there(world) == before


def test_a_new_one_is_configured_and_removed(world: World) -> None:
    world.own("ssm").delete_parameter(Name=PARAMETER)
    assert asked(world, made_from=0)["version"] == 1
    refused = asked(world, None, made_from=2)
    assert (refused["accepted"], "made_from: expected 1" in refused["reason"]) == (False, True)
    assert there(world) == DOCUMENT
    for _ in range(2):  # however often it comes
        assert asked(world, None, made_from=1)["accepted"]
        assert there(world) is None


def test_nobody_else_than_a_person_may(world: World) -> None:
    detail = {"application": "webshop", "document": DOCUMENT, "made_from": 1, "why": "x", "requested_by": "x"}
    event = on_the_bus("Application Change Requested", detail, "mayfly.app.webshop")
    assert not world.call("configure_application", event)["accepted"]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"document": DOCUMENT, "made_from": 7}, "made_from: expected 1"),
        ({"document": DOCUMENT | {"suites": []}, "made_from": 1}, "suites: Tuple should have at least 1 item"),
        ({"document": DOCUMENT | {"blueprint": "no.yaml"}, "made_from": 1}, "blueprint: there is no blueprint no.yaml"),
    ],
)
def test_the_api_says_at_once_what_is_wrong(api: Api, body: Json, why: str) -> None:
    path = "/api/applications/webshop/configuration"
    answer = api.call(api.event("PUT", path, body | {"why": "a test"}))
    assert (answer.status, api.world.said) == (409, [])
    assert why in answer.json["error"]


def test_the_api_finds_no_application_where_there_is_none(api: Api) -> None:
    said = api.of("viewer").get("/api/applications/nobody/configuration").json
    assert (said["version"], said["versions"]) == (0, [])
