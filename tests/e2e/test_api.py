"""The HTTP API as it is deployed: the gateway and its tokens, the function and its role, and what follows from both."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import requests

from accept import signing_in
from local import users
from local.cloud import PATIENCE_SECONDS, LocalCloud
from local.install import installed
from mayfly.domain.identity import environment_id, release_id
from tests.e2e.caller import Caller, member, with_token
from tests.e2e.driver import Driver

type Json = dict[str, Any]

NOBODY = "webshop-0-0-1-5e57c22e-smoke"
WHY = {"why": "a test"}
LETTER = "dl-9f86d081884c7d65"
NAMES = {
    "image": "ami-0123456789abcdef0",
    "before": "ami-0123456789abcdef1",
    "family": "base",
    "name": "nothing",
    "application": "nothing",
    "instance": "i-0123456789abcdef0",
    "number": "7",
    "channel": "stable",
    "year": "2026",
    "month": "11",
    "day": "24",
    "time": "120000-52fdfc07",
}
READER, DEVELOPER, OPERATOR = "viewer", "developer", "operator"

# Every route with who may least, and a body that is right.
ROUTES: dict[str, tuple[str, object]] = {
    "GET /api/me": (READER, None),
    "GET /api/environments": (READER, None),
    "GET /api/environments/{id}": (READER, None),
    "GET /api/environments/{id}/instances/{instance}/console": (READER, None),
    "GET /api/releases": (READER, None),
    "GET /api/releases/{id}": (READER, None),
    "GET /api/releases/{id}/since/{before}": (READER, None),
    "GET /api/history": (READER, None),
    "GET /api/history.csv": (READER, None),
    "GET /api/applications": (READER, None),
    "GET /api/applications/{name}/configuration": (READER, None),
    "GET /api/images": (READER, None),
    "GET /api/images/{image}/since/{before}": (READER, None),
    "GET /api/bakes/{id}": (READER, None),
    "GET /api/dead-letters": (READER, None),
    "GET /api/dead-letters/{id}": (READER, None),
    "GET /api/services": (READER, None),
    "GET /api/rollouts": (READER, None),
    "GET /api/rollouts/{id}": (READER, None),
    "GET /api/sweeps": (READER, None),
    "GET /api/sweeps/{year}/{month}/{day}/{time}": (READER, None),
    "GET /api/kill-switch": (READER, None),
    "GET /api/costs": (READER, None),
    "POST /api/blueprints/check": (DEVELOPER, {"template": "Resources: {}"}),
    "POST /api/releases": (DEVELOPER, {"application": "webshop", "version": "1", "artifact": "s3://a/b"}),
    "POST /api/environments/{id}/extension": (DEVELOPER, {"minutes": 5, **WHY}),
    "POST /api/environments/{id}/termination": (DEVELOPER, WHY),
    "POST /api/environments/{id}/sleep": (DEVELOPER, {"minutes": 5, **WHY}),
    "POST /api/environments/{id}/waking": (DEVELOPER, {"minutes": 5, **WHY}),
    "POST /api/environments/{id}/result": (DEVELOPER, {"outcome": "passed"}),
    "POST /api/pull-requests/{application}/{number}/closing": (DEVELOPER, WHY),
    "PUT /api/applications/{name}/configuration": (OPERATOR, {"document": None, "made_from": 0, **WHY}),
    "POST /api/bakes": (OPERATOR, {"family": "base", **WHY}),
    "POST /api/channels/{family}/{channel}/promotion": (OPERATOR, {"image": "ami-0123456789abcdef0", **WHY}),
    "POST /api/channels/{family}/{channel}/rollback": (OPERATOR, WHY),
    "POST /api/rollouts/{id}/approval": (OPERATOR, WHY),
    "POST /api/rollouts/{id}/pause": (OPERATOR, WHY),
    "POST /api/rollouts/{id}/resumption": (OPERATOR, WHY),
    "POST /api/rollouts/{id}/abort": (OPERATOR, WHY),
    "POST /api/services/{id}/rollout": (OPERATOR, {"to": "latest", **WHY}),
    "POST /api/services/{id}/sleep": (OPERATOR, {"minutes": 5, **WHY}),
    "POST /api/services/{id}/waking": (OPERATOR, {"minutes": 5, **WHY}),
    "POST /api/sweeps": (OPERATOR, {"dry_run": True, **WHY}),
    "POST /api/dead-letters/redrive": (OPERATOR, WHY),
    "POST /api/dead-letters/discard": (OPERATOR, WHY),
    "PUT /api/kill-switch": (OPERATOR, {"on": True, **WHY}),
}


@pytest.fixture
def who(mayfly: Driver) -> Callable[[str], Caller]:
    """One of the three roles, who is signed in. The developer is webshop's."""
    return lambda name: with_token(mayfly, users.token(mayfly.cloud, mayfly.outputs, name))


@pytest.fixture(scope="module")
def bad(cloud: LocalCloud, heard: str) -> dict[str, str | None]:
    """Tokens that open nothing, each for a reason of its own."""
    outputs = installed(cloud).outputs
    return {
        "none": None,
        "no token": "operator",
        "expired": users.expired(cloud, outputs),
        "signed by somebody else": users.foreign(cloud, outputs),
        "of another issuer": users.of_another_issuer(cloud, outputs),
    }


def named(path: str) -> str:
    """Fills an API route with names of things that do not exist."""
    names = NAMES | {"before": NOBODY} if "/releases/" in path else NAMES
    return path.format(**names, id=LETTER if "/dead-letters/" in path else NOBODY)


def asked(caller: Caller, route: str) -> requests.Response:
    """A request that is right but for who sends it."""
    method, path = route.split()
    return caller.ask(method, named(path), ROUTES[route][1])


def test_every_documented_route_is_tried(who: Callable[[str], Caller]) -> None:
    paths: Json = who("viewer").read("/api/openapi.json")["paths"]
    assert {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods} == set(ROUTES)


def test_who_may_see_an_environment_reads_what_its_instances_print_and_no_other_s(
    mayfly: Driver, who: Callable[[str], Caller]
) -> None:
    application = mayfly.application()
    mine, other = mayfly.begin(application), mayfly.begin(application, version="2")
    viewer = who("viewer")
    own, foreign = (viewer.read(f"/api/environments/{each}")["instances"][0]["id"] for each in (mine, other))
    said = viewer.read(f"/api/environments/{mine}/instances/{own}/console")
    assert (said["instance"], "Kernel command line" in said["output"]) == (own, True)
    # IAM refuses: the session is this environment's alone.
    for instance in (foreign, "i-0123456789abcdef0"):
        answer = viewer.ask("GET", f"/api/environments/{mine}/instances/{instance}/console")
        assert answer.status_code == 404
        assert f"expected one of {mine}" in answer.json()["error"]
    for environment in (mine, other):
        mayfly.finish(environment)


class TestAToken:
    @pytest.mark.parametrize("route", [*ROUTES, "GET /api/openapi.json", "GET /api/nothing"])
    def test_is_needed_for_every_route_and_has_to_be_good(
        self, mayfly: Driver, bad: dict[str, str | None], route: str
    ) -> None:
        method, path = route.split()
        before = len(mayfly.invocations("serve-api"))
        for what, token in bad.items():
            answer = with_token(mayfly, token).ask(method, named(path), ROUTES.get(route, ("", None))[1])
            assert answer.status_code == 401, what
        # The gateway refuses: nothing of ours is even asked.
        assert len(mayfly.invocations("serve-api")) == before

    @pytest.mark.parametrize(
        "path",
        ["//api/environments", "/api%2Fenvironments", "/%61pi/environments", "/x/../api/environments", "/API/me"],
    )
    def test_is_needed_on_every_way_to_a_route(self, mayfly: Driver, path: str) -> None:
        session = requests.Session()
        prepared = requests.Request("GET", mayfly.cloud.console_url).prepare()
        prepared.url = mayfly.cloud.console_url + path  # as it is: nothing is tidied up
        assert session.send(prepared, timeout=PATIENCE_SECONDS).status_code in (401, 404)

    def test_of_one_who_is_in_no_group_opens_nothing(self, mayfly: Driver) -> None:
        stranger = member(mayfly, "stranger")
        for route in ROUTES:
            answer = asked(stranger, route)
            assert answer.status_code == 403, route
            assert "stranger is in no group" in answer.json()["error"]


class TestARole:
    @pytest.mark.parametrize("route", [route for route, (least, _) in ROUTES.items() if least == READER])
    def test_reads(self, who: Callable[[str], Caller], route: str) -> None:
        assert asked(who("viewer"), route).status_code in (200, 404)  # what is named is not there

    @pytest.mark.parametrize("route", [route for route, (least, _) in ROUTES.items() if least != READER])
    def test_that_is_too_low_changes_nothing(self, who: Callable[[str], Caller], route: str) -> None:
        lower = ["viewer"] + (["developer"] if ROUTES[route][0] == OPERATOR else [])
        for name in lower:
            answer = asked(who(name), route)
            assert answer.status_code == 403, name
            assert f"but {name} is" in answer.json()["error"]

    def test_of_another_application_changes_nothing(self, mayfly: Driver, who: Callable[[str], Caller]) -> None:
        environment = mayfly.begin(mayfly.application())
        developer = who("developer")
        for what, body in (
            ("extension", {"minutes": 5, **WHY}),
            ("termination", WHY),
            ("result", {"outcome": "passed"}),
        ):
            answer = developer.ask("POST", f"/api/environments/{environment}/{what}", body)
            assert answer.status_code == 403
            assert "but developer is developer of webshop" in answer.json()["error"]
        elsewhere = {"application": "elsewhere", "version": "1", "artifact": "s3://a/b"}
        assert developer.ask("POST", "/api/releases", elsewhere).status_code == 403
        assert mayfly.record(environment)["stage"] == "awaiting tests"
        mayfly.finish(environment)


class TestADeveloper:
    def test_pushes_extends_and_ends_and_the_record_says_who(self, mayfly: Driver) -> None:
        application = mayfly.application(suites=("smoke",), lifetime_minutes=60, ceiling_minutes=240)
        ada = member(mayfly, "ada", f"developer:{application}")
        pushed = {"application": application, "version": "2.0", "artifact": "s3://artifacts/2.0"}
        said = ada.want("POST", "/api/releases", pushed)
        environment = environment_id(said["release"], "smoke")
        assert said["release"] == release_id(application, "2.0", 1)
        before = mayfly.life(environment, "awaiting tests")

        watch = ada.want("POST", f"/api/environments/{environment}/extension", {"minutes": 30, "why": "a demo"})[
            "watch"
        ]
        mayfly.until(lambda: ada.read(watch)["deadline"] > before.deadline or None, "the deadline moves")
        (shown,) = ada.read(f"/api/environments?application={application}")["environments"]
        assert (shown["id"], shown["stage"], shown["instances_built"]) == (environment, "awaiting tests", 1)

        ada.want("POST", f"/api/environments/{environment}/termination", {"why": "seen enough"})
        mayfly.end(environment)
        history = [(line["who"], line["what"]) for line in ada.read(watch)["history"] if line["who"] == "ada"]
        assert history == [("ada", "Environment Extension Requested"), ("ada", "Environment Termination Requested")]
        release = ada.read(f"/api/releases/{said['release']}")
        assert (release["pushed_by"], release["history"][0]["who"]) == ("ada", "ada")
        assert mayfly.nothing_is_left(environment)

    def test_gives_the_verdict_over_a_manual_suite(self, mayfly: Driver) -> None:
        application = mayfly.application(suites=("look",), kind="manual")
        bob = member(mayfly, "bob", f"developer:{application}")
        release = bob.want(
            "POST", "/api/releases", {"application": application, "version": "1", "artifact": "s3://a/b"}
        )
        environment = environment_id(release["release"], "look")
        mayfly.life(environment, "awaiting tests")
        bob.want("POST", f"/api/environments/{environment}/result", {"outcome": "passed", "reason": "looks well"})
        assert mayfly.verdict(release["release"])["detail-type"] == "Release Passed"
        (shown,) = bob.read(f"/api/releases?application={application}")["releases"]
        assert (shown["stage"], shown["suites"][0]["outcome"], shown["verdict"]["passed"]) == ("passed", "passed", True)

    def test_is_told_that_a_version_is_released(self, mayfly: Driver) -> None:
        application = mayfly.application()
        carl = member(mayfly, "carl", f"developer:{application}")
        pushed = {"application": application, "version": "1", "artifact": "s3://a/b"}
        release = carl.want("POST", "/api/releases", pushed)["release"]
        mayfly.until(lambda: mayfly.release(release), "the release is there")
        again = carl.ask("POST", "/api/releases", pushed)
        assert (again.status_code, "send attempt 2" in again.json()["error"]) == (409, True)
        environment = environment_id(release, "smoke")
        mayfly.life(environment, "awaiting tests")
        mayfly.finish(environment)

    def test_sees_what_has_ended_when_time_has_passed(self, mayfly: Driver) -> None:
        application = mayfly.application(lifetime_minutes=60)
        dora = member(mayfly, "dora", f"developer:{application}")
        environment = mayfly.begin(application)
        mayfly.cloud.advance(2 * 3600)
        mayfly.end(environment)
        assert dora.read(f"/api/environments?application={application}")["environments"] == []
        (ended,) = dora.read(f"/api/environments?live=false&application={application}")["environments"]
        assert (ended["id"], ended["ending"]["by"]) == (environment, "deadline")
        assert ended["ended_at"] > ended["deadline"]


class TestAnOperator:
    def test_sweeps_and_reads_every_decision(self, mayfly: Driver, who: Callable[[str], Caller]) -> None:
        environment = mayfly.begin(mayfly.application())
        operator = who("operator")
        operator.want("POST", "/api/sweeps", {"dry_run": True, "why": "a look"})

        def look() -> Json | None:
            sweeps = operator.read("/api/sweeps")["sweeps"]
            return next((one for one in sweeps if one["asked_by"] == "operator" and one["dry_run"]), None)

        sweep = mayfly.until(look, "the sweep is listed")
        report = operator.read(f"/api/{sweep['key'].removesuffix('.json')}")
        decided = {one["environment"]: one["action"] for one in [*report["decisions"], *report["kept"]]}
        assert decided[environment] == "keep"
        mayfly.finish(environment)

    def test_turns_the_kill_switch_and_everybody_sees_who(self, mayfly: Driver, who: Callable[[str], Caller]) -> None:
        operator, viewer = who("operator"), who("viewer")
        operator.want("PUT", "/api/kill-switch", {"on": True, "why": "an incident"})
        mayfly.until(lambda: viewer.read("/api/kill-switch")["on"] or None, "the switch is on")
        assert re.fullmatch(r"operator at .*Z: an incident", viewer.read("/api/kill-switch")["why"])
        operator.want("PUT", "/api/kill-switch", {"on": False, "why": "it is over"})
        mayfly.until(lambda: not viewer.read("/api/kill-switch")["on"] or None, "the switch is off")

    def test_is_refused_politely_what_is_wrong(self, who: Callable[[str], Caller]) -> None:
        answer = who("operator").ask("POST", "/api/sweeps", {"dry_run": "yes", **WHY})
        assert answer.status_code == 422
        (fault,) = answer.json()["fields"]
        assert (fault["field"], fault["value"]) == ("dry_run", "'yes'")


class TestTheConsole:
    def test_is_open_and_safe(self, mayfly: Driver) -> None:
        anybody = with_token(mayfly, None)
        page = anybody.ask("GET", "/")
        assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert "default-src 'self'" in page.headers["Content-Security-Policy"]
        assert page.headers["Content-Encoding"] == "gzip"
        again = requests.get(
            mayfly.cloud.console_url, headers={"If-None-Match": page.headers["ETag"]}, timeout=PATIENCE_SECONDS
        )
        assert (again.status_code, again.content) == (304, b"")

    def test_is_signed_in_to_by_code_and_pkce(self, mayfly: Driver) -> None:
        config = with_token(mayfly, None).read("/config.json")
        kept, back = signing_in.verifier(), f"{mayfly.cloud.console_url}/"
        for tried, status in (("x" * 64, 400), (kept, 200)):
            given = signing_in.code(config, back, kept, ("viewer", users.PASSWORD))
            answer = signing_in.exchange(config, back, tried, given)
            assert answer.status_code == status, answer.text
        assert with_token(mayfly, answer.json()[config["token"]]).read("/api/me")["who"] == "viewer"
