"""The HTTP API: what each role reads and asks for, and how a request that cannot be followed is answered."""

import base64
import csv
import gzip
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from mayfly.aws import records
from mayfly.aws.records import Records
from mayfly.domain.contents import Contents
from mayfly.domain.identity import release_id
from mayfly.domain.records import Entry
from mayfly.domain.records import Environment as RecordOfEnvironment
from mayfly.domain.timestamp import utc_text
from mayfly.settings import load_settings
from mayfly.workflows import image_contents
from mayfly.workflows import reading as reading_module
from tests.integration.api import Api, Json
from tests.integration.world import (
    CEILING,
    ENVIRONMENT,
    LATER,
    NOW,
    PUSHED,
    RELEASE,
    ROOT,
    WORKLOAD_ACCOUNT,
    World,
    an_order,
    function,
    on_the_bus,
)

CONSOLE = sorted((ROOT / "functions" / "serve_api" / "console").iterdir())
UNTIL = datetime(2027, 2, 22, tzinfo=UTC)
WHY = {"why": "because"}

# Every change: who may least, the request, the event it becomes, and what the event says besides why.
DOCUMENT: Json = {
    "owner": "team-shop@example.com",
    "blueprint": "single.yaml",
    "image": {"family": "base"},
    "suites": [{"name": "smoke"}],
}
CHANGES: dict[str, tuple[str, str, str, Json, str, Json]] = {
    "push": (
        "developer",
        "POST",
        "/api/releases",
        {"application": "webshop", "version": "2.0", "artifact": "s3://a/b", "hotfix": True},
        "Code Version Pushed",
        {
            "application": "webshop",
            "version": "2.0",
            "artifact": "s3://a/b",
            "attempt": 1,
            "hotfix": True,
            "pushed_by": "WHO",
        },
    ),
    "extend": (
        "developer",
        "POST",
        f"/api/environments/{ENVIRONMENT}/extension",
        {"minutes": 30, **WHY},
        "Environment Extension Requested",
        {"environment": ENVIRONMENT, "minutes": 30, "why": "because", "requested_by": "WHO"},
    ),
    "sleep": (
        "developer",
        "POST",
        f"/api/environments/{ENVIRONMENT}/sleep",
        {"minutes": 30, **WHY},
        "Environment Sleep Requested",
        {"environment": ENVIRONMENT, "minutes": 30, "why": "because", "requested_by": "WHO"},
    ),
    "wake": (
        "developer",
        "POST",
        f"/api/environments/{ENVIRONMENT}/waking",
        {"minutes": 30, **WHY},
        "Environment Wake Requested",
        {"environment": ENVIRONMENT, "minutes": 30, "why": "because", "requested_by": "WHO"},
    ),
    "sleep, of a permanent one": (
        "operator",
        "POST",
        "/api/services/webshop-production/sleep",
        {"minutes": 30, **WHY},
        "Environment Sleep Requested",
        {"environment": "webshop-production", "minutes": 30, "why": "because", "requested_by": "WHO"},
    ),
    "wake, of a permanent one": (
        "operator",
        "POST",
        "/api/services/webshop-production/waking",
        {"minutes": 30, **WHY},
        "Environment Wake Requested",
        {"environment": "webshop-production", "minutes": 30, "why": "because", "requested_by": "WHO"},
    ),
    "end": (
        "developer",
        "POST",
        f"/api/environments/{ENVIRONMENT}/termination",
        WHY,
        "Environment Termination Requested",
        {"environment": ENVIRONMENT, "again": False, "why": "because", "requested_by": "WHO"},
    ),
    "result": (
        "developer",
        "POST",
        f"/api/environments/{ENVIRONMENT}/result",
        {"outcome": "failed", "reason": "the basket is empty"},
        "Test Finished",
        {"environment": ENVIRONMENT, "outcome": "failed", "reason": "the basket is empty", "finished_by": "WHO"},
    ),
    "close": (
        "developer",
        "POST",
        "/api/pull-requests/webshop/7/closing",
        WHY,
        "Pull Request Closed",
        {"application": "webshop", "pull_request": 7, "why": "because", "closed_by": "WHO"},
    ),
    "configure": (
        "operator",
        "PUT",
        "/api/applications/webshop/configuration",
        {"document": DOCUMENT, "made_from": 1, **WHY},
        "Application Change Requested",
        {"application": "webshop", "document": DOCUMENT, "made_from": 1, "why": "because", "requested_by": "WHO"},
    ),
    "bake": (
        "operator",
        "POST",
        "/api/bakes",
        {"family": "base", **WHY},
        "Image Bake Requested",
        {"family": "base", "why": "because", "requested_by": "WHO"},
    ),
    "promote": (
        "operator",
        "POST",
        "/api/channels/base/stable/promotion",
        {"image": "ami-0123456789abcdef0", **WHY},
        "Image Promotion Requested",
        {
            "family": "base",
            "channel": "stable",
            "image": "ami-0123456789abcdef0",
            "why": "because",
            "requested_by": "WHO",
        },
    ),
    "roll back": (
        "operator",
        "POST",
        "/api/channels/base/stable/rollback",
        WHY,
        "Image Rollback Requested",
        {"family": "base", "channel": "stable", "why": "because", "requested_by": "WHO"},
    ),
    "approve": (
        "operator",
        "POST",
        "/api/rollouts/webshop-production-1/approval",
        WHY,
        "Rollout Approved",
        {"rollout": "webshop-production-1", "why": "because", "approved_by": "WHO"},
    ),
    "abort": (
        "operator",
        "POST",
        "/api/rollouts/webshop-production-1/abort",
        WHY,
        "Rollout Abort Requested",
        {"rollout": "webshop-production-1", "why": "because", "requested_by": "WHO"},
    ),
    "pause": (
        "operator",
        "POST",
        "/api/rollouts/webshop-production-1/pause",
        WHY,
        "Rollout Pause Requested",
        {"rollout": "webshop-production-1", "why": "because", "requested_by": "WHO"},
    ),
    "resume": (
        "operator",
        "POST",
        "/api/rollouts/webshop-production-1/resumption",
        WHY,
        "Rollout Resume Requested",
        {"rollout": "webshop-production-1", "why": "because", "requested_by": "WHO"},
    ),
    "roll out": (
        "operator",
        "POST",
        "/api/services/webshop-production/rollout",
        {"to": "previous", **WHY},
        "Rollout Requested",
        {"service": "webshop-production", "to": "previous", "why": "because", "requested_by": "WHO"},
    ),
    "sweep": (
        "operator",
        "POST",
        "/api/sweeps",
        {"dry_run": True, **WHY},
        "Sweep Requested",
        {"dry_run": True, "at_most": 0, "why": "because", "requested_by": "WHO"},
    ),
    "redrive": (
        "operator",
        "POST",
        "/api/dead-letters/redrive",
        WHY,
        "Dead Letters Redrive Requested",
        {"why": "because", "requested_by": "WHO"},
    ),
    "discard": (
        "operator",
        "POST",
        "/api/dead-letters/discard",
        {"letters": ["dl-9f86d081884c7d65"], **WHY},
        "Dead Letters Discard Requested",
        {"letters": ["dl-9f86d081884c7d65"], "why": "because", "requested_by": "WHO"},
    ),
    "kill switch": (
        "operator",
        "PUT",
        "/api/kill-switch",
        {"on": True, **WHY},
        "Kill Switch Set",
        {"on": True, "why": "because", "set_by": "WHO"},
    ),
}
CHECK = "/api/blueprints/check"
"""A POST that changes nothing."""
READS = [
    "/api/me",
    "/api/environments",
    f"/api/environments/{ENVIRONMENT}",
    f"/api/environments/{ENVIRONMENT}/instances/i-0123456789abcdef0/console",
    "/api/releases",
    f"/api/releases/{RELEASE}",
    f"/api/releases/{RELEASE}/since/{RELEASE}",
    "/api/history",
    "/api/history.csv",
    "/api/applications",
    "/api/applications/webshop/configuration",
    "/api/images",
    "/api/images/ami-0123456789abcdef0/since/ami-0123456789abcdef0",
    "/api/bakes/base-1a2b3c4d",
    "/api/services",
    "/api/rollouts",
    "/api/rollouts/webshop-production-1",
    "/api/sweeps",
    "/api/sweeps/2026/11/24/064733-52fdfc07",
    "/api/dead-letters",
    "/api/dead-letters/dl-9f86d081884c7d65",
    "/api/kill-switch",
    "/api/costs",
    "/api/openapi.json",
]


def entry(at: str = NOW, who: str = "a test") -> Entry:
    return Entry(at, who, "began", "because")


class TestWhoMay:
    @pytest.mark.parametrize("path", READS)
    def test_read_is_whoever_is_in_a_group(self, api: Api, path: str) -> None:
        api.world.wire.answer("GetConsoleOutput", Output="login:")
        for who in ("viewer", "developer", "operator"):
            answer = api.of(who).get(path)
            assert answer.status == 200, answer.text

    @pytest.mark.parametrize("path", READS)
    def test_not_read_is_who_is_in_none(self, api: Api, path: str) -> None:
        answer = api.of("nobody").get(path)
        assert answer.status == 403
        assert answer.json == {"error": "nobody is in no group that may see Mayfly: ask to be added to 'viewer'"}
        assert api.world.wire.calls == []

    @pytest.mark.parametrize("what", CHANGES)
    def test_change_things_is_for_whom_it_is_meant(self, api: Api, what: str) -> None:
        least, method, path, body, event, detail = CHANGES[what]
        for who in ("viewer", "stranger", "developer", "operator"):
            api.world.wire.forget()
            answer = api.of(who).call(api.of(who).event(method, path, body))
            if who == "operator" or who == least:
                assert answer.status == 202, answer.text
                said = {name: who if value == "WHO" else value for name, value in detail.items()}
                assert api.world.said == [(event, said)]
            else:
                assert (answer.status, api.world.said) == (403, [])
                assert who in answer.json["error"]

    @pytest.mark.parametrize("what", CHANGES)
    def test_is_asked_before_what_is_wanted_is_even_read(self, api: Api, what: str) -> None:
        _, method, path, _, _, _ = CHANGES[what]
        assert api.of("viewer").call(api.event(method, path, "{not json") | {}).status == 400  # an operator's token
        assert api.of("viewer").call(api.of("viewer").event(method, path, "{not json")).status == 403

    @pytest.mark.parametrize("path", READS)
    def test_is_nobody_without_a_token_that_the_gateway_verified(self, api: Api, path: str) -> None:
        unverified = api.event("GET", path)
        del unverified["requestContext"]["authorizer"]
        headless = api.event("GET", path)
        del headless["headers"]["authorization"]
        another = api.event("GET", path)
        another["headers"]["authorization"] = api.of("viewer").event("GET", path)["headers"]["authorization"]
        for event in (unverified, headless, another):
            answer = api.call(event)
            assert answer.status == 401
            assert "sign in" in answer.json["error"]
        assert api.world.wire.calls == []

    @pytest.mark.parametrize("name", ["iss", "sub", "username", "cognito:groups", "email", "email_verified", "exp"])
    def test_is_nobody_where_the_gateway_verified_something_else(self, api: Api, name: str) -> None:
        own = api.of("operator", email="o@example.com", email_verified=True, exp=1795000000)
        for shown in ("something else", None):
            event = own.event("GET", "/api/me")
            claims = event["requestContext"]["authorizer"]["jwt"]["claims"]
            claims |= {name: shown} if shown else {}
            if shown is None:
                del claims[name]
            assert api.call(event).status == 401
        assert own.get("/api/me").json["who"] == "o@example.com"

    @pytest.mark.parametrize(
        "header",
        [
            "{0}",
            "Bearer {0} {0}",
            "Bearer {0},Bearer {0}",
            "Bearer {0}, {0}",
            "Basic {0}",
            "Bearer {0}.x",
            "Bearer x.{0}",
            "",
        ],
    )
    def test_is_nobody_without_exactly_one_token(self, api: Api, header: str) -> None:
        event = api.event("GET", "/api/me")
        token = event["headers"]["authorization"].split()[1]
        event["headers"]["authorization"] = header.format(token)
        assert api.call(event).status == 401

    @pytest.mark.parametrize("body", ["[" * 21 + "]" * 21, '{"why": ' * 100_000, '{"a": [{"b": [' * 50])
    def test_is_told_what_is_too_deep_to_be_read(self, api: Api, body: str) -> None:
        for encoded in (False, True):
            event = api.event("PUT", "/api/kill-switch", body)
            event |= {"body": base64.b64encode(body.encode()).decode() if encoded else body, "isBase64Encoded": encoded}
            answer = api.call(event)
            assert (answer.status, "20 deep at most" in answer.json["error"]) == (400, True)

    def test_may_write_as_many_brackets_as_they_like(self, api: Api) -> None:
        assert api.put("/api/kill-switch", {"on": True, "why": "[" * 100 + '"{{\\'}).status == 202

    def test_is_not_mistaken_because_a_group_has_a_blank(self, api: Api) -> None:
        """The gateway shows these groups as "[Site operator]"."""
        answer = api.of("nobody", **{"cognito:groups": ["Site operator"]}).get("/api/me")
        assert answer.status == 403

    def test_is_told_what_they_are(self, api: Api) -> None:
        both = api.of("nobody", **{"cognito:groups": ["developer:webshop", "developer:api", "else"]})
        said = both.get("/api/me").json
        assert said == {
            "who": "nobody",
            "role": "developer",
            "applications": ["api", "webshop"],
            "owned": [],
            "now": LATER,
        }

    def test_is_logged_with_the_reason(self, api: Api, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "mayfly")  # the command line, in the same process here, has silenced it
        api.of("viewer").put("/api/kill-switch", {"on": True, **WHY})
        assert [record.__dict__["reason"] for record in caplog.records if record.message == "refused"] == [
            "only members of 'operator' may change what concerns all applications, but viewer is viewer"
        ]


class TestATeam:
    def test_of_the_identity_provider_changes_what_names_it_and_nothing_else(self, world: World, api: Api) -> None:
        world.configure(developers=["team-shop"])
        function("serve_api").asking.teams.cache_clear()
        asked = {"application": "webshop", "version": "7.0.0", "artifact": "s3://a/7"}
        member = api.of("nobody", **{"cognito:groups": ["everybody", "team-shop"]})
        assert member.get("/api/me").json["applications"] == ["webshop"]
        assert member.post("/api/releases", asked).status == 202
        assert member.post("/api/releases", asked | {"application": "other"}).status == 403
        assert member.put("/api/kill-switch", {"on": True, "why": "x"}).status == 403
        stranger = api.of("nobody", **{"cognito:groups": ["team-blog"]})
        assert stranger.post("/api/releases", asked).status == 403
        function("serve_api").asking.teams.cache_clear()


class TestAnOwner:
    def test_rolls_out_what_is_theirs_and_nothing_else(self, world: World, api: Api) -> None:
        world.configure(owners=["leads", "team-heads"])
        function("serve_api").asking.teams.cache_clear()
        of_others = {"service": "other-production", "application": "other"}
        world.records("rollout").begin("other-production-1", of_others, entry(), UNTIL)
        for member in (
            api.of("nobody", **{"cognito:groups": ["team-heads"]}),
            api.of("nobody", **{"cognito:groups": ["owner:webshop"]}),
        ):
            me = member.get("/api/me").json
            assert (me["role"], me["applications"], me["owned"]) == ("owner", ["webshop"], ["webshop"])
            for what in ("approval", "abort", "pause", "resumption"):
                assert member.post(f"/api/rollouts/webshop-production-1/{what}", WHY).status == 202
                assert member.post(f"/api/rollouts/other-production-1/{what}", WHY).status == 403
            assert member.post("/api/services/webshop-production/rollout", {"to": "latest", **WHY}).status == 202
            assert member.post(f"/api/environments/{ENVIRONMENT}/termination", WHY).status == 202
            assert member.put("/api/kill-switch", {"on": True, **WHY}).status == 403
        function("serve_api").asking.teams.cache_clear()


class TestAnAcceptedChange:
    def test_says_where_to_watch_it(self, api: Api) -> None:
        answer = api.post("/api/releases", {"application": "webshop", "version": "3", "artifact": "s3://a/b"}).json
        release = release_id("webshop", "3", 1)
        assert answer == {
            "accepted": True,
            "event": answer["event"],
            "watch": f"/api/releases/{release}",
            "release": release,
        }
        assert answer["event"]

    def test_says_what_asked_it(self, api: Api) -> None:
        api.put("/api/kill-switch", {"on": True, **WHY})
        (call,) = api.world.wire.heard("PutEvents")
        assert [entry["Source"] for entry in call["Entries"]] == ["mayfly.api"]

    def test_takes_no_name_from_the_body(self, api: Api) -> None:
        answer = api.put("/api/kill-switch", {"on": True, "set_by": "somebody else", **WHY})
        assert (answer.status, answer.json["fields"][0]["field"]) == (422, "set_by")

    def test_is_an_error_where_the_bus_does_not_take_it(self, api: Api) -> None:
        failed = [{"ErrorCode": "InternalFailure", "ErrorMessage": "no"}]
        api.world.wire.answer("PutEvents", FailedEntryCount=1, Entries=failed)
        answer = api.put("/api/kill-switch", {"on": True, **WHY})
        assert (answer.status, "request-1" in answer.json["error"]) == (500, True)

    def test_is_refused_for_a_version_that_is_released(self, api: Api) -> None:
        again = {name: PUSHED[name] for name in ("application", "version", "artifact")}
        answer = api.post("/api/releases", again)
        assert answer.status == 409
        assert "to run it again, send attempt 2" in answer.json["error"]
        assert api.post("/api/releases", again | {"attempt": 2}).status == 202


class TestARequestThatIsWrong:
    @pytest.mark.parametrize(
        ("path", "body", "field", "value", "expected"),
        [
            (f"/api/environments/{ENVIRONMENT}/extension", {"minutes": 0, **WHY}, "minutes", "0", "greater than"),
            (
                f"/api/environments/{ENVIRONMENT}/extension",
                {"minutes": "x", **WHY},
                "minutes",
                "'x'",
                "expected a number",
            ),
            (f"/api/environments/{ENVIRONMENT}/extension", {"minutes": 5}, "why", "nothing", "required"),
            (f"/api/environments/{ENVIRONMENT}/termination", {"why": ""}, "why", "''", "at least 1 character"),
            (f"/api/environments/{ENVIRONMENT}/result", {"outcome": "maybe"}, "outcome", "'maybe'", "'passed' or"),
            (
                "/api/releases",
                {"application": "Web Shop", "version": "1", "artifact": "x"},
                "application",
                "Web",
                "pattern",
            ),
            ("/api/bakes", {"family": "base", "why": "y", "speed": 3}, "speed", "3", "not permitted"),
            ("/api/channels/base/stable/promotion", {"image": "ami", **WHY}, "image", "'ami'", "pattern"),
            ("/api/channels/Base/stable/rollback", WHY, "family", "'Base'", "pattern"),
            ("/api/sweeps", {"dry_run": "yes", **WHY}, "dry_run", "'yes'", "boolean"),
            ("/api/sweeps", {"dry_run": False, "at_most": 9999, **WHY}, "at_most", "9999", "less than"),
            ("/api/sweeps", [], "body", "[]", "dictionary"),
            ("/api/sweeps", None, "body", "nothing", "required"),
        ],
        ids=str,
    )
    def test_is_told_field_value_and_expectation(
        self, api: Api, path: str, body: object, field: str, value: str, expected: str
    ) -> None:
        answer = api.post(path, body)
        assert answer.status == 422, answer.text
        (fault,) = answer.json["fields"]
        assert fault["field"] == field
        assert value in fault["value"]
        assert expected in fault["expected"]
        assert f"{field}: " in answer.json["error"]
        assert api.world.said == []

    @pytest.mark.parametrize(
        ("path", "query", "field"),
        [
            ("/api/environments", {"days": 400}, "days"),
            ("/api/environments", {"live": "perhaps"}, "live"),
            ("/api/environments", {"application": "Ü"}, "application"),
            ("/api/costs", {"days": "many"}, "days"),
            ("/api/environments/Not-A-Name", {}, "id"),
            ("/api/sweeps/2026/11/24/x", {}, "time"),
        ],
        ids=str,
    )
    def test_in_its_address_too(self, api: Api, path: str, query: Json, field: str) -> None:
        answer = api.get(path, **query)
        assert (answer.status, [fault["field"] for fault in answer.json["fields"]]) == (422, [field])

    def test_that_is_no_json_is_told_so(self, api: Api) -> None:
        answer = api.post("/api/sweeps", "{dry_run}")
        assert (answer.status, answer.json["error"][:20]) == (400, "body: expected JSON,")

    def test_that_is_of_another_type_is_told_so(self, api: Api) -> None:
        event = api.event("POST", "/api/sweeps", "<sweep/>")
        event["headers"]["content-type"] = "text/xml"
        assert api.call(event).status == 400

    @pytest.mark.parametrize(
        "path",
        [
            "/api/environments/nobody",
            "/api/releases/nobody",
            "/api/rollouts/nobody",
            "/api/sweeps/2020/01/01/000000-52fdfc07",
            "/api/nothing",
            "/api/",
            "/nothing.js",
            "/../app.py",
            "/app.py",
        ],
    )
    def test_about_what_is_not_there_is_told_so(self, api: Api, path: str) -> None:
        answer = api.get(path)
        assert answer.status == 404
        assert path.rsplit("/", 1)[-1] in answer.json["error"]

    @pytest.mark.parametrize("what", ["extension", "termination", "result"])
    def test_to_change_what_is_not_there_changes_nothing(self, api: Api, what: str) -> None:
        body = {"extension": {"minutes": 5, **WHY}, "termination": WHY, "result": {"outcome": "passed"}}[what]
        assert api.post(f"/api/environments/nobody/{what}", body).status == 404
        assert api.post("/api/rollouts/nobody/approval", WHY).status == 404
        assert api.post("/api/services/nobody/rollout", {"to": "latest", **WHY}).status == 404
        assert api.world.said == []

    def test_that_cannot_be_answered_is_an_error_that_says_where_to_look(self, api: Api) -> None:
        api.world.wire.answer("Query", error="InternalServerError")
        answer = api.get("/api/environments")
        assert answer.status == 500
        assert answer.json == {"error": "this did not work; the log says why, at request-1"}


class TestEnvironments:
    def test_are_shown_as_their_records_say(self, api: Api) -> None:
        api.world.change(
            instances_built=1, instance_types={"t3.micro": 1}, volume_gb=8, launched_at=NOW, stage="awaiting tests"
        )
        said = api.get("/api/environments").json
        (shown,) = said["environments"]
        assert said["now"] == LATER
        order = an_order()
        for name in ("application", "version", "suite", "kind", "release", "owner", "account", "region", "image"):
            assert shown[name] == order[name]
        assert {name: shown[name] for name in ("id", "stage", "instances_built", "instance_type", "channel")} == {
            "id": ENVIRONMENT,
            "stage": "awaiting tests",
            "instances_built": 1,
            "instance_type": "t3.micro",
            "channel": "base/stable",
        }
        assert shown["usd"] > 0 < shown["usd_per_hour"]
        assert shown.keys().isdisjoint({"ended_at", "ending", "history"})

    def test_that_sleep_are_shown_to_and_cost_nothing(self, api: Api) -> None:
        begun = {"instances_built": 1, "instance_types": {"t3.micro": 1}, "launched_at": NOW}
        sleep = {"since": NOW, "groups": {"fleet": [1, 1]}}
        api.world.change(stage="awaiting tests", kind="manual", sleep=sleep, **begun)
        (shown,) = api.get("/api/environments").json["environments"]
        assert (shown["asleep_since"], shown["can_sleep"]) == (NOW, True)
        assert (shown["usd"], shown["usd_per_hour"]) == (0, 0)
        assert api.get("/api/costs").json["total_usd"] == 0

    @staticmethod
    def many(api: Api, count: int) -> list[str]:
        records = Records(api.world.table, RecordOfEnvironment)
        for number in range(count):
            at = utc_text(datetime.fromisoformat(NOW) + timedelta(seconds=number))
            facts = {"application": f"app-{number % 5}", "stage": "awaiting tests" if number % 10 else "creating"}
            facts |= {"planned_at": at, "deadline": NOW if number == 7 else CEILING, "owner": f"team-{number % 7}"}
            records.begin(f"more-{number:04}", Entry(at, "a", "b", "c"), UNTIL, **facts)
        return [*(f"more-{number:04}" for number in range(count - 1, 0, -1)), ENVIRONMENT, "more-0000"]

    def test_come_in_pages(self, api: Api) -> None:
        names, found, after, pages = self.many(api, 249), list[str](), "", 0
        api.world.wire.forget()
        while pages == 0 or after:
            page = api.get("/api/environments", **({"after": after} if after else {})).json
            found += [one["id"] for one in page["environments"]]
            assert ("totals" in page) == (pages == 0)
            after, pages = page.get("next", ""), pages + 1
        assert (found, pages) == (names, 3)

    def test_come_as_many_as_are_asked_for(self, api: Api) -> None:
        names = self.many(api, 9)
        page = api.get("/api/environments", most=4).json
        assert [one["id"] for one in page["environments"]] == names[:4]
        assert page["totals"] | {"at": ""} == {
            "at": "",
            "environments": 10,
            "instances": 1,
            "usd_per_hour": 0.0,
            "stages": {"awaiting tests": 8, "creating": 1, "planned": 1},
            "verdicts": 0,
            "late": 1,
            "deadlines": page["totals"]["deadlines"],
            "applications": ["app-0", "app-1", "app-2", "app-3", "app-4", "webshop"],
        }
        assert sum(page["totals"]["deadlines"]) == 9

    @pytest.mark.parametrize(
        ("asked", "fits"),
        [
            ({"application": "app-2"}, lambda n: n % 5 == 2),
            ({"stage": "creating"}, lambda n: n % 10 == 0),
            ({"owner": "team-3"}, lambda n: n % 7 == 3),
            ({"only": "late"}, lambda n: n == 7),
            ({"only": "verdict"}, lambda n: n < 0),
            ({"text": "MORE-001 app-1"}, lambda n: n in (11, 16)),
            ({"application": "app-2", "owner": "team-3"}, lambda n: n % 35 == 17),
        ],
    )
    def test_are_chosen_by_what_they_are(self, api: Api, asked: Json, fits: Callable[[int], bool]) -> None:
        self.many(api, 40)
        found = [one["id"] for one in api.get("/api/environments", **asked).json["environments"]]
        assert found == [f"more-{n:04}" for n in range(39, -1, -1) if fits(n)]

    def test_are_shown_in_short_pages_where_few_of_many_fit(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mayfly.workflows.reading.LOOKED_AT", 20)
        self.many(api, 40)
        page = api.get("/api/environments", only="late").json
        assert (page["environments"], page["next"][-4:]) == ([], "0020")
        page = api.get("/api/environments", only="late", after=page["next"]).json
        assert [one["id"] for one in page["environments"]] == ["more-0007"]

    @pytest.mark.parametrize(
        ("asked", "field"),
        [({"after": "x"}, "after"), ({"most": 101}, "most"), ({"most": 0}, "most"), ({"only": "me"}, "only")],
    )
    def test_are_refused_where_a_page_is_asked_for_wrongly(self, api: Api, asked: Json, field: str) -> None:
        answer = api.get("/api/environments", **asked)
        assert (answer.status, [one["field"] for one in answer.json["fields"]]) == (422, [field])

    def test_that_have_ended_are_listed_by_their_days(self, api: Api) -> None:
        records = api.world.records()
        for name, days in (("today", 0), ("old", 3)):
            at = (datetime.fromisoformat(LATER) - timedelta(days=days, minutes=1)).isoformat()
            records.begin(name, an_order() | {"planned_at": at}, entry(at), UNTIL)
            ending = {"by": "tests", "outcome": "passed", "reason": "all well", "at": LATER}
            records.change(name, {"ending": ending, "terminated_at": LATER, "stage": "terminated"}, drop=("live",))
        assert [one["id"] for one in api.get("/api/environments").json["environments"]] == [ENVIRONMENT]
        (ended,) = api.get("/api/environments", live="false").json["environments"]
        assert (ended["id"], ended["ended_at"]) == ("today", LATER)
        assert ended["ending"] == {"by": "tests", "outcome": "passed", "tone": "good", "reason": "all well"}
        both = api.get("/api/environments", live="false", days=4).json["environments"]
        assert [one["id"] for one in both] == ["today", "old"]

    def test_can_be_chosen(self, api: Api) -> None:
        api.world.records().begin("other", {"application": "other"}, entry(), UNTIL)
        chosen: dict[str, list[Json]] = {
            name: api.get("/api/environments", **{name: value}).json["environments"]
            for name, value in (("application", "webshop"), ("release", RELEASE))
        }
        assert {name: [one["id"] for one in found] for name, found in chosen.items()} == {
            "application": [ENVIRONMENT],
            "release": [ENVIRONMENT],
        }
        assert api.get("/api/environments", release="nobody").json["environments"] == []

    def test_whose_record_was_lost_are_shown_as_far_as_they_are_known(self, api: Api) -> None:
        api.world.lose()
        api.world.records().change(ENVIRONMENT, {"id": ENVIRONMENT, "live": "environment"}, entry())
        (shown,) = api.get("/api/environments").json["environments"]
        assert (shown["application"], shown["image"], shown["usd"]) == ("unknown", None, 0.0)

    def test_are_told_whole_one_by_one(self, api: Api) -> None:
        stack = "arn:aws:cloudformation:us-east-1:222222222222:stack/mayfly-x/1"
        ending = {"by": "tests", "outcome": "passed", "reason": "ok", "at": LATER, "report": "https://ci/1"}
        api.world.change(stack=stack, outputs={"Url": "http://x"}, kept=["a volume"], ending=ending)
        api.world.records("fleet").change(ENVIRONMENT, {"id": ENVIRONMENT, "instances": ["i-1"]})
        shown = api.get(f"/api/environments/{ENVIRONMENT}").json
        assert [line["what"] for line in shown["history"]] == ["planned"]
        assert (shown["outputs"], shown["kept"], shown["report"]) == ({"Url": "http://x"}, ["a volume"], "https://ci/1")
        assert shown["links"]["stack"].endswith(
            "stackId=arn%3Aaws%3Acloudformation%3Aus-east-1%3A222222222222%3Astack%2Fmayfly-x%2F1"
        )
        assert shown["links"]["execution"].endswith(f":execution:mayfly-run-environment:{ENVIRONMENT}")
        (instance,) = shown["instances"]
        assert (instance["id"], instance["link"].rpartition("#")[2]) == ("i-1", "InstanceDetails:instanceId=i-1")
        assert "waiting" not in shown

    def test_show_what_an_instance_prints(self, api: Api) -> None:
        api.world.ready()
        [instance] = api.world.states()
        path = f"/api/environments/{ENVIRONMENT}/instances"
        shown = api.of("viewer").get(f"{path}/{instance}/console").json
        assert (shown["environment"], shown["instance"]) == (ENVIRONMENT, instance)
        assert "Kernel command line" in shown["output"]
        entered = api.world.wire.heard("AssumeRole")[-1]
        assert entered["RoleArn"] == f"arn:aws:iam::{WORKLOAD_ACCOUNT}:role/mayfly-consoles"
        assert entered["Tags"] == [{"Key": "mayfly:environment", "Value": ENVIRONMENT}]
        api.world.wire.answer("GetConsoleOutput", Output="\x1b[1mlogin:\x1b[0m\r\n")
        assert api.get(f"{path}/{instance}/console").json["output"] == "login:\n"
        api.world.wire.answer("GetConsoleOutput")
        assert api.get(f"{path}/{instance}/console").json["output"] == ""

    @pytest.mark.parametrize(
        ("operation", "code", "said"),
        [
            ("GetConsoleOutput", "UnauthorizedOperation", f"expected one of {ENVIRONMENT}"),
            ("GetConsoleOutput", "InvalidInstanceID.NotFound", f"expected one of {ENVIRONMENT}"),
            ("AssumeRole", "AccessDenied", "deploy blueprints/workload-account.yaml there again"),
        ],
    )
    def test_show_no_console_that_may_not_be_read(self, api: Api, operation: str, code: str, said: str) -> None:
        api.world.wire.answer(operation, error=code)
        answer = api.get(f"/api/environments/{ENVIRONMENT}/instances/i-0123456789abcdef0/console")
        assert answer.status == 404
        assert said in answer.json["error"]

    def test_show_the_console_of_an_older_kind_of_instance_as_it_was(self, api: Api) -> None:
        wire = api.world.wire
        wire.answer("GetConsoleOutput", error="UnsupportedOperation")
        asked = f"/api/environments/{ENVIRONMENT}/instances/i-0123456789abcdef0/console"
        assert api.get(asked).status == 500, "the second answer is the same here"
        assert [call.get("Latest") for call in wire.heard("GetConsoleOutput")] == [True, None]

    def test_of_which_no_price_is_known_cost_nobody_knows_what(self, api: Api) -> None:
        api.world.change(instance_types={"x9.unheard": 1}, volume_gb=8, launched_at=NOW)
        (shown,) = api.get("/api/environments").json["environments"]
        assert (shown["usd"], shown["usd_per_hour"]) == (None, 0)


class TestReleases:
    def test_are_shown_with_their_suites(self, api: Api) -> None:
        ending = {"by": "tests", "outcome": "failed", "reason": "no", "at": LATER}
        api.world.change(ending=ending)
        (shown,) = api.get("/api/releases").json["releases"]
        assert shown["id"] == RELEASE
        assert shown["pushed_at"] == api.world.record(RELEASE, "release")["history"][0]["at"]
        assert [(each["suite"], each.get("outcome")) for each in shown["suites"]] == [
            ("smoke", "failed"),
            ("look", None),
        ]
        assert (shown["stage"], shown["usd"]) == ("running", 0.0)

    def test_are_shown_with_their_verdict(self, api: Api) -> None:
        api.world.call("judge_release", {"release": RELEASE, "now": LATER})
        (shown,) = api.get("/api/releases", application="webshop").json["releases"]
        assert shown["verdict"]["passed"] is False
        assert {each["outcome"] for each in shown["suites"]} == {"broken"}
        assert api.get("/api/releases", application="other").json["releases"] == []

    def test_are_told_whole_one_by_one(self, api: Api) -> None:
        shown = api.get(f"/api/releases/{RELEASE}").json
        assert [line["what"] for line in shown["history"]] == ["Code Version Pushed", "planned"]
        assert [one["id"] for one in shown["environments"]] == [ENVIRONMENT]

    def test_whose_record_was_lost_are_told_as_far_as_they_are_known(self, api: Api) -> None:
        api.world.own("dynamodb").delete_item(TableName=api.world.table, Key={"pk": {"S": f"release#{RELEASE}"}})
        api.world.call("plan_release", {"release": RELEASE, "pushed": PUSHED, "now": NOW})
        shown = api.get(f"/api/releases/{RELEASE}").json
        assert (shown["id"], shown["application"], shown["stage"]) == (RELEASE, "unknown", "running")

    def test_of_which_nothing_was_planned_yet_are_shown_too(self, api: Api) -> None:
        pushed = PUSHED | {"version": "9"}
        api.world.call("accept_code_version", on_the_bus("Code Version Pushed", pushed))
        shown = {one["version"]: one for one in api.get("/api/releases").json["releases"]}
        assert (shown["9"]["stage"], shown["9"]["suites"]) == ("requested", [])


class TestDifferencesOfReleases:
    def test_are_what_was_pushed_and_what_its_environments_consist_of(self, api: Api) -> None:
        api.world.configure(parameters={"SubnetId": "subnet-0aaaaaaaaaaaaaaa0"})
        later = release_id("webshop", "9", 1)
        pushed = PUSHED | {"version": "9", "artifact": "s3://a/9"}
        api.world.call("accept_code_version", on_the_bus("Code Version Pushed", pushed))
        api.world.call("plan_release", {"release": later, "pushed": pushed, "now": NOW})
        api.world.records("release").change(later, {"image": "ami-0123456789abcdef1"})
        api.world.records("release").change(RELEASE, {"image": "ami-0123456789abcdef0"})
        found = api.get(f"/api/releases/{later}/since/{RELEASE}").json
        facts = {one["name"]: (one["before"], one["after"]) for one in found["facts"]}
        assert facts["version"] == (PUSHED["version"], "9")
        assert facts["artifact"] == (PUSHED["artifact"], "s3://a/9")
        assert "blueprint" not in facts
        assert {"name": "SubnetId", "before": "", "after": "subnet-0aaaaaaaaaaaaaaa0"} in found["parameters"]
        assert "nothing is recorded of what ami-0123456789abcdef1 consists of" in found["image_problem"]
        image_contents.keep(api.world.reports, "ami-0123456789abcdef1", Contents({"package": {"openssl": "3.0.2"}}))
        packages = api.get(f"/api/releases/{later}/since/{RELEASE}").json["image"]["packages"]
        assert packages == [{"name": "openssl", "before": "3.0.1", "after": "3.0.2"}]

    def test_of_one_that_an_earlier_version_planned_are_told_as_far_as_they_are_known(self, api: Api) -> None:
        api.world.records("release").begin("webshop-0", {"version": "0"}, entry(), UNTIL)
        found = api.get(f"/api/releases/{RELEASE}/since/webshop-0").json
        assert found["parameters"] == []
        assert next(one for one in found["facts"] if one["name"] == "blueprint")["before"] is None


class TestEvidence:
    def test_is_every_line_of_a_period_with_whose_it_is(self, api: Api) -> None:
        found = api.get("/api/history", since="2026-01-01", until="2027-01-01").json
        assert found["lines"] == sorted(found["lines"], key=lambda line: line["at"])
        assert {"release", "environment", "rollout", "service", "dead-letter"} <= {
            line["kind"] for line in found["lines"]
        }
        assert found["since"] == "2026-01-01T00:00:00.000Z"
        assert api.get("/api/history", since="2026-01-01", until="2026-01-02").json["lines"] == []
        mine = api.get("/api/history", since="2026-01-01", until="2027-01-01", application="webshop").json["lines"]
        assert {line["application"] for line in mine} == {"webshop"}

    def test_comes_in_parts_where_there_is_much(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        whole = api.get("/api/history", since="2026-01-01").json["lines"]
        scan = api.world.own("dynamodb").scan
        asked: list[Any] = []

        def small(**how: Any) -> Any:
            asked.append(how)
            return scan(**how, Limit=2)

        monkeypatch.setattr(records.controller("dynamodb"), "scan", small)
        monkeypatch.setattr(reading_module, "_LINES_SHOWN", 1)
        part = api.get("/api/history", since="2026-01-01").json
        found = part["lines"]
        while "next" in part:
            part = api.get("/api/history", since="2026-01-01", after=part["next"]).json
            found += part["lines"]
        assert len(asked) > 2
        assert sorted(map(str, found)) == sorted(map(str, whole))

    def test_is_csv_for_a_spreadsheet(self, api: Api) -> None:
        answer = api.get("/api/history.csv", since="2026-01-01")
        assert answer.headers["Content-Type"].startswith("text/csv")
        head, *rows = csv.reader(StringIO(str(answer.text)))
        assert head == ["at", "kind", "id", "application", "who", "what", "why"]
        assert len(rows) == len(api.get("/api/history", since="2026-01-01").json["lines"])

    def test_of_a_time_that_is_none_is_told_so(self, api: Api) -> None:
        answer = api.get("/api/history", since="yesterday")
        assert (answer.status, answer.json["fields"][0]["field"]) == (422, "since")


class TestWhatIsConfigured:
    def test_applications_are_shown_and_what_is_wrong_with_them(self, api: Api) -> None:
        api.world.put("/mayfly/applications/broken", '{"owner": 3}')
        broken, webshop = api.get("/api/applications").json["applications"]
        assert (broken["name"], broken.keys()) == ("broken", {"name", "problem"})
        assert "owner: Input should be a valid string, but it is 3" in broken["problem"]
        assert webshop["suites"] == [
            {"name": "smoke", "kind": "automated", "manual": False},
            {"name": "look", "kind": "manual", "manual": True},
        ]
        assert webshop["image"] == {"family": "base", "channel": "stable"}

    def test_the_kill_switch_is_shown(self, api: Api) -> None:
        assert api.get("/api/kill-switch").json == {"on": False, "why": ""}
        api.world.switch("ops at 2026-11-24T06:47:34.120Z: an incident")
        assert api.get("/api/kill-switch").json == {"on": True, "why": "ops at 2026-11-24T06:47:34Z: an incident"}


class TestImages:
    def test_are_shown_by_family(self, api: Api) -> None:
        world = api.world
        world.put("/mayfly/families/wrong", "{}")
        check = {"name": "runs", "command": "true", "exit": 0, "stdout": None}
        facts = {
            "family": "base",
            "stage": "proven",
            "why": "cve",
            "requested_by": "ops",
            "image": "ami-new",
            "checks": [check],
        }
        world.records("bake").begin("base-bake-1", facts, entry(), UNTIL)
        image = {"id": "ami-new", "family": "base", "stage": "proven", "bake": "base-bake-1", "live": "image"}
        world.records("image").change("ami-new", image | {"region": "us-east-1"}, entry())
        base, wrong = api.get("/api/images").json["families"]
        assert (base["family"], "problem" in base) == ("base", False)
        assert [one for one in base["bakes"] if one["id"] == "base-bake-1"] == [
            {
                "id": "base-bake-1",
                "family": "base",
                "stage": "proven",
                "tone": "good",
                "over": True,
                "why": "cve",
                "requested_by": "ops",
                "at": NOW,
                "image": "ami-new",
            }
        ]
        assert base["images"] == [
            {
                "image": "ami-new",
                "stage": "proven",
                "tone": "good",
                "promotable": True,
                "created_at": NOW,
                "region": "us-east-1",
                "bake": "base-bake-1",
                "checks": [{"name": "runs", "command": "true"}],
            }
        ]
        assert (wrong["family"], "owner: Field required" in wrong["problem"]) == ("wrong", True)

    def test_are_reached_as_far_as_records_say(self, api: Api) -> None:
        world = api.world
        world.change(instances_built=3, image="ami-old")
        world.records("channel").change(
            "base/stable",
            {
                "id": "base/stable",
                "live": "channel",
                "family": "base",
                "channel": "stable",
                "version": 2,
                "image": "ami-new",
                "regions": {"us-east-1": "ami-new"},
                "moved_at": NOW,
                "previous": [{"image": "ami-old", "regions": {"us-east-1": "ami-old"}}],
                "leaving": [{"image": "ami-old", "regions": {}, "at": NOW, "by": "ami-new"}],
            },
            entry(),
        )
        (channel,) = channels(api, "stable")
        assert (channel["image"], channel["version"]) == ("ami-new", 2)
        assert (channel["instances"], channel["on_old_images"], channel["hours"]) == ({"ami-old": 3}, 3, 0.33)
        assert channel["previous"] == [{"image": "ami-old"}]
        assert [line["what"] for line in channel["history"]] == ["began"]

    def test_of_a_channel_that_somebody_keeps_by_hand_are_shown_too(self, api: Api) -> None:
        api.world.change(instances_built=2, image="ami-other")
        (channel,) = channels(api, "stable")
        assert (channel["image"], channel["version"]) == ("ami-12c6146b", 0)
        assert channel["instances"] == {"ami-other": 2}

    def test_of_a_channel_that_never_moved_are_shown_too_so_that_a_person_can_move_it(self, api: Api) -> None:
        api.world.put("/mayfly/families/base", (ROOT / "families" / "base.json").read_text())
        (channel,) = channels(api, "candidate")
        assert (channel["image"], channel["version"], channel["previous"]) == ("", 0, [])


def channels(api: Api, name: str) -> list[Json]:
    """The channels of this name, of all families."""
    return [
        one for family in api.get("/api/images").json["families"] for one in family["channels"] if one["name"] == name
    ]


class TestServicesAndRollouts:
    def test_are_shown_as_far_as_they_are_known(self, api: Api) -> None:
        (shown,) = api.get("/api/services").json["services"]
        known = {"application": "webshop", "name": "production", "stage": "steady", "version": "1", "drift": []}
        told = {"tone": "good", "rolling_out": False, "can_roll_out": False, "can_sleep": False, "odd": []}
        assert shown == known | told | {"id": "webshop-production", "instance_count": 6}

    def test_tell_what_waits_and_what_can_be_stepped_back_to(self, api: Api) -> None:
        before = {"image": "ami-1", "version": "0.9"}
        waits = {"id": "webshop-production-2", "to": {}, "stage": "awaiting approval"}
        services = api.world.records("service")
        services.change("webshop-production", {"pending": waits, "previous": before | {"parameters": {}}})
        (shown,) = api.get("/api/services").json["services"]
        assert (shown["rollout"], shown["previous"]) == ("webshop-production-2", before)
        services.change("webshop-production", {"rollout": "webshop-production-1"})
        (shown,) = api.get("/api/services").json["services"]
        assert shown["rollout"] == "webshop-production-1"

    def test_have_checkpoints_and_a_history(self, api: Api) -> None:
        facts = {
            "stage": "rolling",
            "why": "a new image",
            "from": {"image": "ami-1", "version": "1"},
            "to": {"image": "ami-2", "version": "1"},
            "checkpoints": [{"percent": 10, "reached_at": LATER}, {"percent": 100}],
            "percent": 10,
        }
        api.world.records("rollout").change("webshop-production-1", facts)
        (listed,) = api.get("/api/rollouts").json["rollouts"]
        assert {name: listed[name] for name in facts} == facts
        assert (listed["started_at"], listed["history"][0]["what"]) == (NOW, "began")
        assert api.get("/api/rollouts/webshop-production-1").json == listed


class TestSweeps:
    def test_are_listed_without_reading_a_report(self, api: Api) -> None:
        (shown,) = api.get("/api/sweeps").json["sweeps"]
        assert (shown["key"], shown["asked_by"]) == ("sweeps/2026/11/24/064733-52fdfc07.json", "ops")
        assert (shown["dry_run"], shown["halted"], shown["at"]) == (True, "", "2026-11-24T06:47:33.000Z")
        assert shown["counts"]["adopt"] == 0
        assert "GetObject" not in api.world.wire.names()

    def test_have_a_report_with_every_decision(self, api: Api) -> None:
        (shown,) = api.get("/api/sweeps").json["sweeps"]
        report = api.get(f"/api/{shown['key'].removesuffix('.json')}").json
        assert report["counts"] == shown["counts"]
        decided = [*report["decisions"], *report["kept"]]
        assert [decision["environment"] for decision in decided] == [ENVIRONMENT]
        assert all(decision["reason"] for decision in decided)


class TestCosts:
    def test_are_summed_by_application_and_suite(self, api: Api) -> None:
        api.world.change(instance_types={"t3.micro": 10}, volume_gb=80, launched_at=NOW)
        said = api.get("/api/costs").json
        (row,) = said["applications"]
        assert said["prices"]["currency"] == "USD"
        assert (row["application"], row["suites"]) == ("webshop", [{"suite": "smoke", "usd": row["usd"]}])
        assert said["total_usd"] == row["usd"] > 0


@pytest.mark.parametrize("path", ["/api/costs", "/api/images", "/api/environments", "/api/releases", "/api/sweeps"])
def test_of_days_of_which_no_record_is_kept_nothing_is_read(
    api: Api, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """A list makes eight DynamoDB queries for each day without a stored sum."""
    monkeypatch.setenv("MAYFLY_RECORD_DAYS", "2")
    load_settings.cache_clear()
    api.world.wire.forget()
    ended = {"live": "false"} if path == "/api/environments" else {}
    assert api.get(path, days=366, **ended).status == 200
    assert 0 < len(api.world.wire.heard("Query")) < 60


class TestTheConsole:
    def test_is_served_to_anybody_with_what_keeps_it_safe(self, api: Api) -> None:
        answer = open_page(api, "/")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        policy = answer.headers["Content-Security-Policy"].split("; ")
        assert "default-src 'self'" in policy
        assert "connect-src 'self' https://mayfly-111111111111.auth.us-east-1.amazoncognito.com" in policy
        assert not [part for part in policy if "unsafe" in part or "*" in part]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert api.world.wire.calls == []

    def test_is_packed_for_who_can_unpack_it(self, api: Api) -> None:
        plain, packed = open_page(api, "/"), open_page(api, "/", **{"accept-encoding": "gzip, br"})
        assert packed.headers["Content-Encoding"] == "gzip"
        assert isinstance(packed.text, bytes)
        assert gzip.decompress(packed.text) == plain.text

    @pytest.mark.parametrize("file", CONSOLE, ids=lambda file: file.name)
    def test_has_each_of_its_files_served(self, api: Api, file: Path) -> None:
        plain, packed = (open_page(api, f"/{file.name}", **how) for how in ({}, {"accept-encoding": "gzip"}))
        assert (plain.status, packed.status) == (200, 200)
        assert gzip.decompress(packed.text) == plain.text
        assert plain.headers["Content-Type"].split("/")[0] in ("text", "image", "application")
        if file.suffix not in (".js", ".html"):  # those are put together
            assert plain.text == file.read_bytes()

    def test_is_sent_once_while_it_is_the_same(self, api: Api) -> None:
        first = open_page(api, "/")
        again = open_page(api, "/", **{"if-none-match": f'"other", W/{first.headers["ETag"]}'})
        assert (again.status, again.text or b"", again.headers["ETag"]) == (304, b"", first.headers["ETag"])
        assert open_page(api, "/", **{"if-none-match": '"other"'}).status == 200

    def test_names_what_is_kept_for_good(self, api: Api) -> None:
        page = open_page(api, "/")
        assert page.headers["Cache-Control"] == "no-cache"
        named = re.findall(r'"([\w.]+)\?v=(\w+)"', page.text.decode())
        assert [name for name, _ in named] == ["icon.svg", "console.css", "console.js"]
        for name, digest in named:
            kept, passing = (open_page(api, f"/{name}", query={"v": each}) for each in (digest, "of-before"))
            assert kept.headers["Cache-Control"] == "public, max-age=31536000, immutable"
            # A page from before a deployment gets what there is, and does not keep it by the old name.
            assert (passing.status, passing.headers["Cache-Control"]) == (200, "no-cache")
            assert passing.text == kept.text

    def test_has_its_modules_joined(self, api: Api) -> None:
        sent = open_page(api, "/console.js").text.decode()
        modules = {file.stem for file in (ROOT / "functions" / "serve_api" / "console").glob("*.js")}
        assert sorted(re.findall(r"^const \$(\w+) = ", sent, re.MULTILINE)) == sorted(modules - {"console"})
        assert not re.search(r"^(import|export)\b", sent, re.MULTILINE)

    def test_is_told_how_to_sign_in(self, api: Api) -> None:
        said = open_page(api, "/config.json").json
        assert said == {
            "issuer": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_example",
            "client_id": "console",
            "sign_in": "https://mayfly-111111111111.auth.us-east-1.amazoncognito.com",
            "scopes": "openid email profile",
            "version": "0.1.0",
            "token": "access_token",
        }

    def test_answers_the_sample_event(self, api: Api) -> None:
        answer = api.call(json.loads((ROOT / "events" / "serve_api.json").read_text()))
        assert (answer.status, answer.json["client_id"]) == (200, "console")

    def test_of_another_issuer_sends_its_id_tokens(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MAYFLY_SIGN_IN", "")
        monkeypatch.setenv("MAYFLY_ISSUER", "https://idp.example.com/realms/x")
        from mayfly.settings import load_sign_in

        load_sign_in.cache_clear()
        answer = open_page(api, "/config.json")
        assert (answer.json["sign_in"], answer.json["token"]) == ("", "id_token")
        assert "connect-src 'self' https://idp.example.com;" in answer.headers["Content-Security-Policy"]


def open_page(api: Api, path: str, query: Json | None = None, **headers: str) -> Any:
    """What anybody gets, without a token."""
    event = api.event("GET", path, query=query)
    event["routeKey"], event["headers"] = "GET /{asset}", headers
    del event["requestContext"]["authorizer"]
    return api.call(event)


class TestAnAnswer:
    def test_is_kept_by_nobody(self, api: Api) -> None:
        assert api.get("/api/me").headers["Cache-Control"] == "no-store"
        assert api.get("/api/nothing").headers["Cache-Control"] == "no-store"

    def test_is_packed_for_who_can_unpack_it(self, api: Api) -> None:
        event = api.event("GET", "/api/environments")
        event["headers"]["accept-encoding"] = "gzip"
        answer = api.call(event)
        assert answer.headers["Content-Encoding"] == "gzip"
        assert isinstance(answer.text, bytes)
        assert json.loads(gzip.decompress(answer.text))["environments"]


class TestABlueprint:
    """What `mayfly blueprint check` says, for who has no command line."""

    TEMPLATE = (
        "Parameters:\n  Size: {Type: String}\nResources:\n  Jobs:\n    Type: AWS::SQS::Queue\n"
        "    Properties: {QueueName: jobs}\n  Vpc: {Type: 'AWS::EC2::VPC'}\n"
    )

    def test_is_examined_line_by_line_with_what_it_takes(self, api: Api) -> None:
        said = api.of("developer").post(CHECK, {"template": self.TEMPLATE}).json
        assert [(one["level"], one["line"], one["where"]) for one in said["remarks"]] == [
            ("error", 6, "Jobs"),
            ("warning", 2, "Size"),
            ("warning", 5, "Jobs"),
            ("note", 1, "Parameters"),
            ("note", 1, ""),
        ]
        assert {"quota": "VPCs per Region", "takes": 1.0, "default": 5} in said["takes"]
        assert (said["blueprint"], said["not_reckoned"]) == ("", [])
        assert api.world.said == []

    def test_is_examined_with_what_an_application_configures(self, api: Api) -> None:
        api.world.configure(parameters={"Colour": "red"})
        said = api.post(CHECK, {"template": self.TEMPLATE, "application": "webshop"}).json
        wrong = {one["where"]: one["said"] for one in said["remarks"] if one["level"] == "error"}
        assert "each application has to configure a value" in wrong["Size"]
        assert wrong["Parameters"] == "Colour is configured, but no parameter of it"

    def test_that_an_application_names_is_examined_as_it_is_uploaded(self, api: Api) -> None:
        said = api.post(CHECK, {"application": "webshop"}).json
        assert said["blueprint"] == "single.yaml"
        assert not [one for one in said["remarks"] if one["level"] == "error"]
        assert {"quota": "CloudFormation stacks", "takes": 1.0, "default": 2000} in said["takes"]

    @pytest.mark.parametrize(
        ("body", "status", "words"),
        [
            ({}, 404, "template: expected one, or an application whose blueprint is to be examined"),
            ({"application": "nobody"}, 404, "there is no parameter /mayfly/applications/nobody"),
            ({"template": ""}, 422, "at least 1 character"),
        ],
    )
    def test_that_is_none_is_refused(self, api: Api, body: Json, status: int, words: str) -> None:
        answer = api.post(CHECK, body)
        assert (answer.status, words in answer.json["error"]) == (status, True), answer.text

    def test_that_is_not_there_is_said(self, api: Api) -> None:
        api.world.configure(blueprint="nowhere.yaml")
        assert "there is no blueprint nowhere.yaml" in api.post(CHECK, {"application": "webshop"}).json["error"]

    def test_is_examined_for_developers_and_operators_only(self, api: Api) -> None:
        asked = {who: api.of(who).post(CHECK, {"application": "webshop"}).status for who in ("viewer", "nobody")}
        assert asked == {"viewer": 403, "nobody": 403}
        assert api.of("stranger").post(CHECK, {"application": "webshop"}).status == 200
