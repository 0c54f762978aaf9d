"""Where developers see what came of a commit: the calls of GitHub's and GitLab's API, composed from the records."""

import json
from typing import Any

import pytest

from local.github import GitHub
from tests.integration.world import NOW, PUSHED, RELEASE, Json, World, an_order, announced, on_the_bus

SHA = "9fceb02d0ae598e95dc970b74767f19372d61af8"
CONNECTION = "arn:aws:events:us-east-1:111111111111:connection/mayfly-hub/1b6c2f0e-7d5a-4f57-9f0c-0a4d2a6b9c11"
FORGE = {"type": "github", "repository": "acme/shop", "connection": CONNECTION}
API = "https://api.github.com"


@pytest.fixture
def pushed(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A release that is planned, of an application whose developers look at GitHub."""
    monkeypatch.setenv("MAYFLY_CONSOLE_URL", "https://mayfly.example.com/")
    from mayfly.settings import load_settings

    load_settings.cache_clear()
    world.configure(forge=FORGE)
    said = PUSHED | {"commit": SHA, "pull_request": 7}
    world.call("accept_code_version", on_the_bus("Code Version Pushed", said))
    world.call("plan_release", {"release": RELEASE, "pushed": said, "now": NOW})
    world.wire.forget()
    return world


def told(world: World, event: str = "Release Started", **detail: Any) -> Json:
    """What the machine is started with that calls the forge."""
    world.wire.answer("StartExecution", executionArn="arn:aws:states:us-east-1:111111111111:execution:x:y", startDate=0)
    world.call("tell_forge", announced(event, release=RELEASE, **detail))
    started = [each for each in world.wire.heard("StartExecution") if each["stateMachineArn"].endswith("show-release")]
    return dict(json.loads(started[-1]["input"]))


def judged(world: World, outcome: str) -> None:
    ending = {"by": "tests", "outcome": outcome, "reason": "1 of 2 tests failed: pays | @all", "at": NOW}

    for suite in ("smoke", "look"):
        name = f"{RELEASE}-{suite}"
        world.call("plan_environment", {"order": an_order(environment=name, suite=suite), "now": NOW})
        world.change(name, ending=ending)
    world.call("judge_release", {"release": RELEASE, "now": NOW})


def taken(call: Json) -> None:
    """GitHub takes it, by its own rules."""
    hub = GitHub("acme/shop", "secret", commits={SHA}, pulls={7})
    headers = {"User-Agent": "x", "Authorization": "Bearer secret"}
    status, answer = hub.answer(
        call["method"], call["url"].removeprefix(API), headers, json.dumps(call["body"]).encode()
    )
    assert status in (200, 201), answer


def test_a_commit_is_pending_with_a_link_while_its_suites_run(pushed: World) -> None:
    status = told(pushed)["status"]
    taken(status)
    assert status["url"] == f"{API}/repos/acme/shop/statuses/{SHA}"
    assert status["body"] == {
        "state": "pending",
        "description": "2 suites run",
        "target_url": f"https://mayfly.example.com/#/releases/{RELEASE}",
        "context": "mayfly",
    }


@pytest.mark.parametrize(
    ("outcome", "state", "said"),
    [
        ("passed", "success", "all 2 suites passed"),
        ("failed", "failure", "smoke failed, look failed"),
        ("broken", "error", "smoke broken, look broken"),
    ],
)
def test_a_verdict_is_the_state_of_the_commit(pushed: World, outcome: str, state: str, said: str) -> None:
    judged(pushed, outcome)
    status = told(pushed, "Release Failed")["status"]
    taken(status)
    assert (status["body"]["state"], status["body"]["description"]) == (state, said)


def test_a_pull_request_has_one_comment_with_the_addresses_and_deadlines(pushed: World) -> None:
    pushed.planned()
    pushed.change(outputs={"Url": "https://shop.example.com", "Id": "i-1"}, stage="awaiting tests")
    comment = told(pushed)["comment"]
    taken(comment["post"] | {"body": comment["body"]})
    assert comment["post"]["url"] == f"{API}/repos/acme/shop/issues/7/comments"
    assert comment["change"] == {"method": "PATCH", "url": f"{API}/repos/acme/shop/issues/comments"}
    text = comment["body"]["body"]
    assert text.startswith(comment["marker"])
    assert "[Url](https://shop.example.com)" in text
    assert str(pushed.record()["deadline"]) in text
    assert "i-1" not in text


def test_what_others_wrote_is_no_markup_and_calls_nobody(pushed: World) -> None:
    judged(pushed, "failed")
    text = told(pushed, "Release Failed")["comment"]["body"]["body"]
    assert "pays \\| @\u200ball" in text


def test_gitlab_is_told_in_its_own_words(pushed: World) -> None:
    pushed.configure(
        forge=FORGE | {"type": "gitlab", "repository": "acme/shop", "api": "https://git.example.com/api/v4"}
    )
    said = told(pushed)
    base = "https://git.example.com/api/v4/projects/acme%2Fshop"
    assert said["status"]["url"] == f"{base}/statuses/{SHA}"
    assert (said["status"]["body"]["state"], said["status"]["body"]["name"]) == ("running", "mayfly")
    notes = f"{base}/merge_requests/7/notes"
    assert {said["comment"][how]["url"] for how in ("look", "post", "change")} == {notes}
    assert said["comment"]["change"]["method"] == "PUT"


@pytest.mark.parametrize("without", ["forge", "commit", "pull_request"])
def test_nobody_is_told_what_there_is_no_place_for(world: World, without: str) -> None:
    said = {name: value for name, value in (PUSHED | {"commit": SHA, "pull_request": 7}).items() if name != without}
    world.configure(**({} if without == "forge" else {"forge": FORGE}))
    world.call("accept_code_version", on_the_bus("Code Version Pushed", said))
    world.call("plan_release", {"release": RELEASE, "pushed": said, "now": NOW})
    world.wire.forget()
    if without == "pull_request":
        assert "comment" not in told(world)
    else:
        assert not world.call("tell_forge", announced("Release Started", release=RELEASE))["shown"]


def test_the_machine_is_told_what_is_so_when_it_asks(pushed: World) -> None:
    begun = told(pushed)
    judged(pushed, "passed")
    asked = {"release": begun["release"], "now": "2026-11-24T09:00:00.000Z"}
    now = pushed.call("tell_forge", asked)
    assert begun["status"]["body"]["state"] == "pending"
    assert now["status"]["body"]["state"] == "success"
    assert "passed" in now["comment"]["body"]["body"]
    assert now["comment"]["look"]["query"]["since"] == "2026-11-23T09:00:00.000Z"


def test_the_machine_is_told_nothing_where_there_is_nobody_to_tell(pushed: World) -> None:
    pushed.configure()
    assert pushed.call("tell_forge", {"release": RELEASE, "now": NOW}) == {}


def test_what_the_version_before_composed_is_told_as_it_is(pushed: World) -> None:
    begun = {name: value for name, value in told(pushed).items() if name != "release"}
    assert pushed.call("tell_forge", begun | {"now": NOW}) == begun | {"now": NOW}
