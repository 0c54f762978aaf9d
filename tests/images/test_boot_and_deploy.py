"""An instance of the sample image boots and deploys as fleet.yaml has it do."""

import hashlib
import json
import re

import pytest

from .builder import packed
from .machine import HOST_NAME, Machine, Result

LOCATION = "http://127.0.0.1:8000/webshop.tar.gz"
GREETING = "curl -sS http://127.0.0.1:8080/"


def test_the_last_step_writes_what_depends_on_the_machine_and_converges(instance: Machine) -> None:
    boot = "puppet apply --detailed-exitcodes /opt/mayfly/boot.pp"
    first = instance.shell(boot)
    assert first.code == 2, first.output
    found = instance.path("/etc/mayfly/instance.env").read_text()
    assert re.fullmatch(rf"HOST_NAME={HOST_NAME}\nWORKERS=[1-9]\d*\nMEMORY_MB=[1-9]\d*\n", found)
    again = instance.shell(boot)
    assert again.code == 0, again.output


def test_a_version_is_deployed_and_its_service_answers(deployed: Machine) -> None:
    said = deployed.must(f"systemctl restart mayfly-application.service && {GREETING}")
    user = deployed.must("id -u mayfly").strip()
    assert user != "0"
    assert said == f"webshop 1.4.2 on {HOST_NAME} as {user}\n"


def test_the_next_version_replaces_it(instance: Machine) -> None:
    deploy = "/opt/mayfly/deploy webshop"
    said = instance.must(f"{deploy} 1 {LOCATION} && {deploy} 2 {LOCATION} && {GREETING}", metadata=True)
    assert said.startswith("webshop 2 ")
    releases = instance.path("/opt/mayfly/releases")
    assert {entry.name for entry in releases.iterdir()} == {"1", "2"}
    assert instance.must("readlink /opt/mayfly/current") == "releases/2\n"


def test_an_artifact_is_taken_from_a_file_or_from_s3(instance: Machine) -> None:
    instance.path("/srv/local.tar.gz").write_bytes((instance.artifacts / "webshop.tar.gz").read_bytes())
    instance.must("mkdir -p /stand-ins/s3/artifacts && cp /srv/local.tar.gz /stand-ins/s3/artifacts/webshop.tar.gz")
    instance.must("/opt/mayfly/deploy webshop 1.4.2 file:///srv/local.tar.gz")
    instance.must("/opt/mayfly/deploy webshop 1.4.3 s3://artifacts/webshop.tar.gz")
    assert instance.must("cat /opt/mayfly/current/release.env") == "APPLICATION=webshop\nVERSION=1.4.3\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param("webshop 2 http://127.0.0.1:8000/none", "404", id="not there"),
        pytest.param("webshop 2 http://127.0.0.1:8000/text", "gzip", id="no archive"),
        pytest.param("webshop 2 http://127.0.0.1:8000/empty.tar.gz", "no executable start", id="no start"),
        pytest.param("webshop 2 /etc/passwd", "not a location", id="no location"),
        pytest.param(f"webshop ../../etc {LOCATION}", "not a version", id="leads out"),
        pytest.param(f"'web shop' 2 {LOCATION}", "not an application", id="no name"),
        pytest.param("webshop 2", "usage", id="too little"),
    ],
)
def test_what_cannot_be_deployed_changes_nothing(instance: Machine, words: str, says: str) -> None:
    (instance.artifacts / "text").write_text("not an archive")
    (instance.artifacts / "empty.tar.gz").write_bytes(packed(readme="nothing to start"))
    instance.must(f"/opt/mayfly/deploy webshop 1 {LOCATION}", metadata=True)
    failed = instance.shell(f"/opt/mayfly/deploy {words}", metadata=True)
    assert failed.code != 0
    assert says in failed.output
    assert [entry.name for entry in instance.path("/opt/mayfly/releases").iterdir()] == ["1"]
    assert instance.must("readlink /opt/mayfly/current") == "releases/1\n"


class TestTheBox:
    """The one on the premises: it wants a token, and is not always well."""

    def deploy(self, instance: Machine, artifact: str = LOCATION, token: str = "T0KEN", **box: object) -> Result:
        (instance.artifacts / "box.json").write_text(json.dumps({"token": "T0KEN"} | box))
        return instance.shell(f"MAYFLY_ARTIFACT_TOKEN={token} /opt/mayfly/deploy webshop 2 {artifact}", metadata=True)

    def test_is_told_the_token(self, instance: Machine) -> None:
        done = self.deploy(instance)
        assert done.code == 0, done.output

    def test_that_is_busy_or_slow_is_waited_for(self, instance: Machine) -> None:
        assert self.deploy(instance, busy=1, stalls=0.5).code == 0

    @pytest.mark.parametrize(
        ("box", "code", "says"),
        [
            pytest.param({"token": "another"}, 1, "cannot be fetched (curl 22, status 401)", id="another token"),
            pytest.param({"busy": 9}, 75, "cannot be fetched now (curl 22, status 503)", id="busy for long"),
            pytest.param({"cut": True}, 75, "cannot be fetched now (curl 18, status 200)", id="loses connections"),
        ],
    )
    def test_that_does_not_deliver_is_named_and_what_may_pass_is_told(
        self, instance: Machine, box: dict[str, object], code: int, says: str
    ) -> None:
        done = self.deploy(instance, **box)
        assert (done.code, says in done.output) == (code, True), done.output

    def test_that_nobody_answers_at_may_be_reached_later(self, instance: Machine) -> None:
        done = self.deploy(instance, "http://127.0.0.1:9/webshop.tar.gz")
        assert done.code == 75, done.output

    def test_that_serves_something_else_deploys_nothing(self, instance: Machine) -> None:
        right = hashlib.sha256((instance.artifacts / "webshop.tar.gz").read_bytes()).hexdigest()
        assert self.deploy(instance, f"{LOCATION}#sha256={right}").code == 0
        (instance.artifacts / "webshop.tar.gz").write_bytes(packed(start="#!/bin/sh\n# another\n"))
        done = self.deploy(instance, f"{LOCATION}#sha256={right}")
        assert done.code == 1
        assert f"expected the sha256 {right}, but it is" in done.output
        assert "another" not in instance.must("cat /opt/mayfly/current/start")

    def test_a_checksum_is_whole(self, instance: Machine) -> None:
        done = self.deploy(instance, f"{LOCATION}#sha256=0123")
        assert "not sha256= and 64 hexadecimal digits: sha256=0123" in done.output


def test_the_version_is_what_the_process_of_the_service_was_started_with(instance: Machine) -> None:
    deploy = f"/opt/mayfly/deploy webshop 1.4.2 {LOCATION}"
    lies = "echo VERSION=9 >/opt/mayfly/current/release.env"
    assert instance.must(f"{deploy} && {lies} && /opt/mayfly/version", metadata=True) == "1.4.2\n"
    assert instance.shell("/opt/mayfly/version").code != 0


def test_systemd_understands_the_unit(deployed: Machine) -> None:
    assert deployed.must("systemd-analyze verify /etc/systemd/system/mayfly-application.service") == ""


def test_no_agent_runs_in_the_background(instance: Machine) -> None:
    assert instance.shell("systemctl is-enabled puppet.service").output == "masked\n"
