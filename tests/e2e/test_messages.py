"""Messages that come twice, too early, too late, for nobody, or make no sense."""

import json
from typing import Any

import pytest

from local.install import application_topic
from mayfly.domain.identity import environment_id
from tests.e2e.driver import Driver, Way

NOBODY = "nobody-1-0-0-00000000-smoke"


class TestAVersion:
    def test_pushed_twice_at_once_is_one_release_and_the_record_says_so(self, mayfly: Driver) -> None:
        release = mayfly.push(mayfly.application(), times=2)
        environment = environment_id(release, "smoke")
        mayfly.life(environment, "awaiting tests")
        mayfly.until(
            lambda: len(mayfly.release(release)["history"]) >= 3, "both pushes noted", lambda: mayfly.release(release)
        )
        assert sorted(what for what, _ in mayfly.history(mayfly.release(release))) == [
            "Code Version Pushed",
            "planned",
            "pushed again",
        ]
        mayfly.finish(environment)
        mayfly.verdict(release)
        assert mayfly.releases(release) == [release]
        assert mayfly.nothing_is_left(environment)
        assert mayfly.calls(environment)["CreateStack"] == 1

    @pytest.mark.parametrize("way", ["bus", "topic"])
    def test_delivered_again_after_the_end_starts_nothing(self, mayfly: Driver, way: Way) -> None:
        application = mayfly.application()
        environment = mayfly.begin(application)
        mayfly.finish(environment)
        release = mayfly.verdict(mayfly.record(environment)["release"])["detail"]["release"]
        before = mayfly.execution(environment)
        mayfly.cloud.reset_ledger()

        mayfly.push(application, by=way)
        mayfly.until(
            lambda: "pushed again" in dict(mayfly.history(mayfly.release(release))),
            "the repetition is noted",
            lambda: mayfly.release(release),
        )
        mayfly.until(lambda: mayfly.invocations("accept-code-version"), "the repetition is answered")
        assert mayfly.execution(environment) == before
        assert mayfly.releases(release) == [release]
        assert mayfly.stacks(environment) == ["DELETE_COMPLETE"]
        assert mayfly.release(release)["stage"] == "passed"

    def test_of_an_unknown_application_fails_its_release_with_the_parameter_that_is_missing(
        self, mayfly: Driver
    ) -> None:
        verdict = mayfly.verdict(mayfly.push("never-heard-of"))
        assert verdict["detail-type"] == "Release Failed"
        assert "/mayfly/applications/never-heard-of" in verdict["detail"]["reason"]
        assert verdict["detail"]["suites"] == []

    @pytest.mark.parametrize(
        ("wrong", "named"),
        [
            ({"instance_count": -1}, "instance_count"),
            ({"suites": []}, "suites"),
            ({"lifetime_hours": 24}, "lifetime_hours"),
            ({"image": {"family": "base", "channel": "no-such"}}, "/mayfly/images/base/no-such"),
            ({"blueprint": "no-such.yaml"}, "no-such.yaml"),
        ],
    )
    def test_of_a_wrongly_configured_application_fails_its_release_with_the_field(
        self, mayfly: Driver, wrong: dict[str, Any], named: str
    ) -> None:
        verdict = mayfly.verdict(mayfly.push(mayfly.application(**wrong)))
        assert verdict["detail-type"] == "Release Failed"
        assert named in verdict["detail"]["reason"]

    @pytest.mark.parametrize(
        ("detail", "named"),
        [
            ({"application": "Web Shop", "version": "mark-1", "artifact": "a"}, "application"),
            ({"application": "webshop", "version": "mark-2"}, "artifact"),
            ({"application": "webshop", "version": "mark-3", "artifact": "a", "atempt": 2}, "atempt"),
        ],
    )
    def test_that_makes_no_sense_becomes_a_dead_letter_with_the_field(
        self, mayfly: Driver, detail: dict[str, Any], named: str
    ) -> None:
        mayfly.say("Code Version Pushed", [detail])
        letter = mayfly.letter(detail["version"])
        assert letter["reason"].startswith(f"{named}: ")
        assert letter["message"]["detail"] == detail


class TestAResult:
    @pytest.mark.parametrize("way", ["bus", "topic"])
    def test_for_an_unknown_environment_becomes_a_dead_letter(self, mayfly: Driver, way: Way) -> None:
        mayfly.finish(NOBODY, by=way, reason=f"mark-{way}")
        letter = mayfly.letter(f"mark-{way}")
        assert letter["function"] == "mayfly-accept-test-result"
        assert letter["reason"].startswith("environment: ")
        assert NOBODY in letter["reason"]
        sent = letter["message"]
        detail = sent["detail"] if way == "bus" else json.loads(sent["Records"][0]["Sns"]["Message"])
        assert detail == {"environment": NOBODY, "outcome": "passed", "reason": f"mark-{way}"}
        assert mayfly.record(NOBODY) == {}

    @pytest.mark.parametrize(
        ("detail", "named"),
        [
            ({"environment": NOBODY, "reason": "mark-4"}, "outcome"),
            ({"environment": NOBODY, "outcome": "great", "reason": "mark-5"}, "outcome"),
            ({"environment": NOBODY, "outcome": "passed", "reson": "mark-6"}, "reson"),
            ({"outcome": "passed", "reason": "mark-7"}, "message"),
            ({"release": "nobody-1", "outcome": "passed", "reason": "mark-8"}, "message"),
        ],
    )
    def test_that_makes_no_sense_becomes_a_dead_letter_with_the_field(
        self, mayfly: Driver, detail: dict[str, Any], named: str
    ) -> None:
        mayfly.say("Test Finished", [detail])
        letter = mayfly.letter(next(value for value in detail.values() if value.startswith("mark-")))
        assert letter["reason"].startswith(f"{named}: ")
        assert letter["message"]["detail"] == detail

    def test_that_is_no_json_becomes_a_dead_letter(self, mayfly: Driver) -> None:
        topic = application_topic(mayfly.cloud, "webshop", "TestResultsTopic")
        mayfly.cloud.client("sns").publish(TopicArn=topic, Message="mark-9: passed!")
        letter = mayfly.letter("mark-9")
        assert "JSON" in letter["reason"]
        assert letter["message"]["Records"][0]["Sns"]["Message"] == "mark-9: passed!"

    def test_that_comes_before_the_environment_is_ready_ends_it_without_waiting(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("workload", stack="create", effect="slow", times=1)
        environment = environment_id(mayfly.push(mayfly.application()), "smoke")
        mayfly.life(environment, "creating")
        mayfly.finish(environment, "failed")
        mayfly.until(lambda: mayfly.record(environment).get("ending"), "the result is recorded")
        mayfly.cloud.clear_faults()
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        record = mayfly.record(environment)
        assert record["ending"]["outcome"] == "failed"
        assert "awaiting tests" not in dict(mayfly.history(record))
        assert mayfly.nothing_is_left(environment)

    def test_that_comes_before_anything_is_built_has_nothing_built(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("controller", function="mayfly-create-environment", effect="hang", times=1)
        environment = environment_id(mayfly.push(mayfly.application()), "smoke")
        mayfly.life(environment, "planned")
        mayfly.finish(environment, "failed")
        mayfly.until(lambda: mayfly.record(environment).get("ending"), "the result is recorded")
        mayfly.cloud.clear_faults()
        assert mayfly.end(environment)["status"] == "SUCCEEDED"
        assert mayfly.stacks(environment) == []
        assert mayfly.record(environment)["ending"]["outcome"] == "failed"

    def test_that_contradicts_the_first_is_noted_and_changes_nothing(self, mayfly: Driver) -> None:
        mayfly.cloud.fault("workload", stack="delete", effect="slow", times=1)
        environment = mayfly.begin(mayfly.application())
        mayfly.finish(environment, "passed")
        mayfly.life(environment, "terminating")
        mayfly.finish(environment, "failed", by="topic", finished_by="anna@example.com")
        self._noted(mayfly, environment, "ignored: the tests failed; it was ended already by tests")
        mayfly.cloud.clear_faults()
        verdict = mayfly.verdict(mayfly.record(environment)["release"])
        assert verdict["detail-type"] == "Release Passed"

    def test_that_comes_after_the_end_is_noted_and_changes_nothing(self, mayfly: Driver) -> None:
        environment = mayfly.begin(mayfly.application(lifetime_minutes=5))
        mayfly.cloud.advance(300)
        mayfly.end(environment)
        mayfly.finish(environment)
        self._noted(mayfly, environment, "ignored: the tests passed; it was ended already by deadline")
        assert mayfly.record(environment)["stage"] == "terminated"
        assert mayfly.record(environment)["ending"]["outcome"] == "expired"

    @staticmethod
    def _noted(mayfly: Driver, environment: str, why: str) -> None:
        mayfly.until(
            lambda: ("Test Finished", why) in mayfly.history(mayfly.record(environment)),
            f"{why!r} is noted",
            lambda: mayfly.record(environment),
        )
