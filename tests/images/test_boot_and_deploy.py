"""An instance of the sample image boots and deploys as fleet.yaml has it do."""

import re

import pytest

from .builder import packed
from .machine import HOST_NAME, Machine

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


def test_systemd_understands_the_unit(deployed: Machine) -> None:
    assert deployed.must("systemd-analyze verify /etc/systemd/system/mayfly-application.service") == ""


def test_no_agent_runs_in_the_background(instance: Machine) -> None:
    assert instance.shell("systemctl is-enabled puppet.service").output == "masked\n"
