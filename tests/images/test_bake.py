"""The builder's user data, run with real Puppet: what it reports, and that it ends its machine in every case."""

import hashlib
from pathlib import Path

import pytest
from awscli.shorthand import ShorthandParser  # type: ignore[import-untyped]

from .builder import Bake, bake, packed
from .machine import Machine
from .metadata import INSTANCE

PUPPET_CODE = "http://127.0.0.1:8000/puppet.tar.gz"

# What the outermost of bake.sh's processes gets, seen from Puppet: its parent runs the steps, whose parent is the
# time limit.
ENDED_FROM_OUTSIDE = """#!/bin/sh
parent() { sed -n 's/^PPid:.//p' "/proc/$1/status"; }
kill -TERM "$(parent "$(parent "$PPID")")"
sleep 60
"""


FIRST_BOOT = """#!/usr/bin/perl
use Fcntl;
open(my $lock, '>>', '/var/lib/dpkg/lock-frontend') or die;
my $whole = pack('s s x4 q q i', F_WRLCK, 0, 0, 0, 0);
fcntl($lock, F_SETLK, $whole) or die;
open(my $held, '>', '/run/first-boot');
select(undef, undef, undef, 0.05) until `grep -s 'it is held' /run/mayfly/log`;
open(my $released, '>', '/stand-ins/released');
"""


def checksum(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def publish(machine: Machine, manifest: str) -> None:
    (machine.artifacts / "puppet.tar.gz").write_bytes(packed(manifests__site_pp=manifest))


def skip_puppet(machine: Machine) -> None:
    """Where it is about the rest: a Puppet that has changed something, at once."""
    machine.write("/stand-ins/puppet", "#!/bin/sh\nexit 2\n", 0o755)


def test_a_good_bake_reports_and_shuts_down(baked: tuple[Machine, Bake]) -> None:
    machine, done = baked
    assert done.result == "ok", done.log
    assert done.shut_down
    assert done.code == 143, "the shutdown ended it, it did not return to cloud-init"
    assert "Notice: Applied catalog" in done.log
    assert not machine.path("/run/mayfly").exists(), "the log was in memory only"


def test_the_log_is_uploaded_before_the_result_is_told(baked: tuple[Machine, Bake]) -> None:
    calls = [call[1:3] for call in baked[1].calls if call[0] == "aws"]
    assert calls == [["s3", "cp"], ["ec2", "create-tags"]]


def test_the_result_is_a_tag_of_its_own_instance_as_the_cli_reads_it(machine: Machine) -> None:
    skip_puppet(machine)
    done = bake(machine, cleanup="exit 7")
    [tagging] = [call for call in done.calls if call[:3] == ["aws", "ec2", "create-tags"]]
    assert tagging[3:5] == ["--resources", INSTANCE]
    assert ShorthandParser().parse(tagging[-1]) == {"Key": "mayfly:bake-result", "Value": "failed: cleanup exit 7"}


def test_code_comes_from_s3_too(machine: Machine) -> None:
    code = machine.path("/stand-ins/s3/artifacts/puppet.tar.gz")
    code.parent.mkdir(parents=True)
    code.write_bytes(packed(manifests__site_pp="notify { 'from S3, mit Umläuten': }"))
    done = bake(machine, puppet_code="s3://artifacts/puppet.tar.gz", puppet_code_sha256=checksum(code))
    assert done.result == "ok", done.log
    assert "from S3, mit Umläuten" in done.log


def test_puppet_is_installed_from_a_package_in_s3_where_it_is_missing(machine: Machine) -> None:
    machine.must("mkdir -p /tmp/deb/DEBIAN /tmp/deb/usr/local/bin /stand-ins/s3/artifacts")
    machine.must("mv /usr/bin/puppet /tmp/deb/usr/local/bin/puppet")
    control = "Package: agent\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.com>\nDescription: Puppet\n"
    machine.write("/tmp/deb/DEBIAN/control", control)
    machine.must("dpkg-deb --build /tmp/deb /stand-ins/s3/artifacts/agent.deb && rm -r /tmp/deb")
    publish(machine, "notify { 'by the new agent': }")
    for wrong in ("s3://artifacts/agent.deb", f"s3://artifacts/agent.deb#sha256={'0' * 64}"):
        refused = bake(machine, puppet_package=wrong)
        assert str(refused.result).startswith("failed: puppet installation exit "), refused.log
        assert not machine.path("/usr/local/bin/puppet").exists()
    location = f"s3://artifacts/agent.deb#sha256={checksum(machine.path('/stand-ins/s3/artifacts/agent.deb'))}"
    done = bake(machine, puppet_package=location)
    assert done.result == "ok", done.log
    assert "by the new agent" in done.log


def test_puppet_that_is_missing_and_no_package_is_an_error(machine: Machine) -> None:
    machine.must("rm /usr/bin/puppet")
    publish(machine, "notify { 'never': }")
    done = bake(machine)
    assert done.result.startswith("failed: puppet installation")
    assert "MAYFLY_PUPPET_PACKAGE is empty" in done.log


@pytest.mark.parametrize(
    ("manifest", "code"),
    [
        pytest.param("file { '/no/such/folder/file': ensure => file }", 4, id="a resource fails"),
        pytest.param(
            "file { '/etc/changed': content => 'x' } file { '/no/such/folder/file': ensure => file }",
            6,
            id="one fails, another changes",
        ),
        pytest.param("file { '/etc/changed': content =>", 1, id="a syntax error"),
    ],
)
def test_a_failure_of_puppet_is_told_with_its_exit_code(machine: Machine, manifest: str, code: int) -> None:
    publish(machine, manifest)
    done = bake(machine)
    assert done.result == f"failed: puppet exit {code}", done.log
    assert done.shut_down
    assert "mayfly: cleanup" not in done.log


@pytest.mark.parametrize(
    ("variables", "result"),
    [
        pytest.param({"puppet_code": "http://127.0.0.1:8000/none"}, "failed: fetch exit 22", id="not there"),
        pytest.param({"puppet_code": "s3://artifacts/none"}, "failed: fetch exit 1", id="not on S3"),
        pytest.param(
            {
                "puppet_code": "http://127.0.0.1:8000/text",
                "puppet_code_sha256": hashlib.sha256(b"not an archive").hexdigest(),
            },
            "failed: unpack exit 2",
            id="no archive",
        ),
        pytest.param({"puppet_code_sha256": ""}, "failed: configuration exit 64", id="no checksum"),
        pytest.param({"puppet_code_sha256": "0" * 64}, "failed: fetch exit 1", id="another checksum"),
        pytest.param({"puppet_code": "file:///etc/passwd"}, "failed: configuration exit 64", id="no location"),
        pytest.param({"mode": "solo"}, "failed: configuration exit 64", id="unknown mode"),
        pytest.param({"mode": "agent"}, "failed: configuration exit 64", id="no server"),
        pytest.param({"cleanup": ""}, "failed: configuration exit 64", id="no cleanup"),
        pytest.param({"time_limit": "0"}, "failed: configuration exit 64", id="no time"),
        pytest.param({"cleanup": "exit 7"}, "failed: cleanup exit 7", id="cleanup fails"),
        pytest.param(
            {"mode": "agent", "puppet_server": "127.0.0.1"}, "failed: certificate exit 1", id="server is down"
        ),
    ],
)
def test_what_fails_is_named(machine: Machine, variables: dict[str, str], result: str) -> None:
    (machine.artifacts / "text").write_text("not an archive")
    if "cleanup" in variables:
        skip_puppet(machine)
    done = bake(machine, **variables)
    assert done.result == result, done.log
    assert done.shut_down
    assert "no log was uploaded" not in done.log


def test_the_log_is_left_below_the_builder_s_own_name(baked: tuple[Machine, Bake]) -> None:
    [copy] = [call for call in baked[1].calls if call[:3] == ["aws", "s3", "cp"]]
    assert copy[-1] == f"s3://logs/bakes/{INSTANCE}/base-0a1b2c3d.log"


def test_a_value_stays_a_value(machine: Machine) -> None:
    attack = "'; touch /pwned; '$(touch /pwned)`touch /pwned`\n touch /pwned"
    assert bake(machine, puppet_code=PUPPET_CODE + attack).result == "failed: fetch exit 3"
    assert bake(machine, time_limit="a[$(touch /pwned)]").result == "failed: configuration exit 64"
    assert bake(machine, mode="apply$(touch /pwned)").result == "failed: configuration exit 64"
    assert not machine.path("/pwned").exists()


def test_the_agent_is_asked_once_for_a_fresh_catalog(machine: Machine) -> None:
    machine.write("/stand-ins/puppet", '#!/bin/sh\necho "asked: $*"\n[ "$1" = ssl ] || exit 2\n', 0o755)
    done = bake(machine, mode="agent", puppet_server="puppet.example.com", puppet_environment="next")
    assert done.result == "ok", done.log
    to = f"--certname base-0a1b2c3d-{INSTANCE[2:]} --server puppet.example.com --color=false --waitforcert 0"
    assert f"asked: ssl bootstrap {to} --csr_attributes /run/mayfly/request.yaml\n" in done.log
    once = "--onetime --no-daemonize --verbose --no-usecacheonfailure"
    assert f"asked: agent {once} {to} --environment next --detailed-exitcodes" in done.log


def test_packages_that_something_else_installs_are_waited_for(machine: Machine) -> None:
    """As some images do at their first boot: the lock is of the kind that dpkg takes."""
    skip_puppet(machine)
    machine.write("/stand-ins/first-boot", FIRST_BOOT, 0o755)
    held = "[ -e /run/first-boot ]"
    begin = f"{held} || {{ first-boot >/dev/null 2>&1 & until {held}; do /usr/bin/sleep 0.1; done; }}"
    machine.write("/stand-ins/curl", f'#!/bin/sh\n{begin}\nexec /usr/bin/curl "$@"\n', 0o755)
    done = bake(machine)
    assert done.result == "ok", done.log
    before, _, _ = done.log.partition("mayfly: puppet installation")
    assert before.endswith("mayfly: package lock\nmayfly: it is held\n")
    assert machine.path("/stand-ins/released").exists(), "it went on before the lock was free"


def test_a_base_image_without_puppet_gets_it(machine: Machine) -> None:
    machine.must("rm /usr/bin/puppet")
    assert bake(machine).result == "failed: puppet installation exit 64"
    apt = '#!/bin/sh\necho "asked: $*"\n[ "$1" = update ] || ln -s /bin/true /usr/bin/puppet\n'
    machine.write("/stand-ins/apt-get", apt, 0o755)
    done = bake(machine, puppet_package="puppet")
    assert done.result == "ok", done.log
    assert "asked: install --yes --no-install-recommends puppet" in done.log


def test_a_bake_has_a_time_limit(machine: Machine) -> None:
    publish(machine, "exec { '/bin/sleep 120': }")
    done = bake(machine, time_limit="20")  # by then it has come to Puppet, on a busy machine too
    assert done.result == "failed: time limit of 20 s in puppet", done.log
    assert done.shut_down


def test_a_bake_that_is_ended_from_outside_reports_it(machine: Machine) -> None:
    machine.write("/stand-ins/puppet", ENDED_FROM_OUTSIDE, 0o755)
    done = bake(machine)
    assert done.result == "failed: puppet exit 143", done.log
    assert done.shut_down


def test_a_builder_whose_processes_are_all_killed_has_its_shutdown_scheduled(machine: Machine) -> None:
    machine.write("/stand-ins/puppet", "#!/bin/sh\nkill -KILL -1\n", 0o755)
    done = bake(machine, time_limit="3600")
    assert done.result is None
    assert done.calls == [["shutdown", "-P", "+70"]]


def test_a_bake_without_log_is_no_bake(machine: Machine) -> None:
    skip_puppet(machine)
    machine.write("/stand-ins/denied", "s3 cp")
    done = bake(machine)
    assert done.result == "failed: log upload"
    assert done.shut_down


def test_a_builder_that_cannot_report_shuts_down(machine: Machine) -> None:
    skip_puppet(machine)
    machine.write("/stand-ins/denied", "ec2 create-tags")
    assert bake(machine).shut_down


def test_a_builder_without_metadata_uploads_its_log_and_shuts_down(machine: Machine) -> None:
    machine.write("/stand-ins/curl", "#!/bin/sh\nexit 28\n", 0o755)
    done = bake(machine)
    assert done.result is None
    assert done.shut_down
    assert "failed: metadata exit 28" in done.log
