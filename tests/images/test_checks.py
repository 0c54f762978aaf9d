"""Each sample check passes on an instance of the sample image, and fails on one that is bad in its way."""

import re
from typing import Any

import pytest

from .builder import CHECKS
from .machine import Machine, Machines, Result

# What is wrong with the image, by the check that finds it.
BAD: dict[str, list[str]] = {
    "puppet converges": [
        "rm /etc/systemd/system/mayfly-application.service",
        "userdel mayfly",
        "chmod 777 /opt/mayfly",
    ],
    "deploy script": ["chmod -x /opt/mayfly/deploy", "rm /opt/mayfly/deploy"],
    "last step is valid": ["echo 'file {' >>/opt/mayfly/boot.pp", "rm /opt/mayfly/boot.pp"],
    "service enabled": [
        "rm /etc/systemd/system/multi-user.target.wants/mayfly-application.service",
        "rm /etc/systemd/system/mayfly-application.service",
    ],
    "service runs": ["rm /opt/mayfly/current", "printf '#!/bin/sh\\n' >/opt/mayfly/current/start"],
    "service port": ["sed -i s/8080/8081/ /opt/mayfly/current/start"],
    "no other port": ["sed -i s/8080/8081/ /opt/mayfly/current/start"],
    "no private keys": [
        "mkdir -p /root/.ssh && echo '-----BEGIN OPENSSH PRIVATE KEY-----' >/root/.ssh/id_ed25519",
        "mkdir -p /var/lib/puppet/ssl && echo '-----BEGIN RSA PRIVATE KEY-----' >/var/lib/puppet/ssl/builder.pem",
        "echo '-----BEGIN PRIVATE KEY-----' >'/etc/a name with blanks'",
    ],
    "no credentials": [
        "mkdir -p /root/.aws && touch /root/.aws/credentials",
        "mkdir -p /home/admin && touch /home/admin/.netrc",
        "echo 'key = AKIA''ABCDEFGHIJKLMNOP' >/opt/mayfly/shared/settings",
    ],
    "nobody let in": ["mkdir -p /home/admin/.ssh && echo ssh-ed25519 >/home/admin/.ssh/authorized_keys"],
    "no shell history": ["echo ls >/root/.bash_history"],
    "machine id not baked in": ["echo 0123 >/etc/machine-id && touch -d 2020-01-01 /etc/machine-id"],
    "host keys not baked in": ["mkdir -p /etc/ssh && touch -d 2020-01-01 /etc/ssh/ssh_host_rsa_key"],
    "boots within 180 seconds": ["echo 181000000 >/stand-ins/boot-finished", "echo 0 >/stand-ins/boot-finished"],
}
ROWS = [pytest.param(name, harm, id=f"{name}: {harm[:40]}") for name, harms in BAD.items() for harm in harms]


def look(machine: Machine, check: dict[str, Any], unusual: str = "") -> Result:
    """Runs a check on an instance whose systemd and service are up."""
    started = "mkdir -p /run/systemd/system; systemctl restart mayfly-application.service"
    quoted = check["command"].replace("'", "'\\''")
    return machine.shell(f"{unusual or ':'}; {{ {started}; }} >/dev/null 2>&1; sh -c '{quoted}'")


def passes(check: dict[str, Any], result: Result) -> bool:
    """What a check says of the exit code, and of standard output as a whole where it has an expression."""
    return result.code == check["exit"] and bool(re.search(check.get("stdout", ""), result.output))


def named(name: str) -> dict[str, Any]:
    return next(check for check in CHECKS if check["name"] == name)


@pytest.fixture(scope="session")
def good(deployed: Machine) -> Machine:
    """An instance that came up in 40 seconds and made its own identity when it did."""
    deployed.write("/stand-ins/boot-finished", "40000000\n")
    deployed.must("echo 0123456789abcdef0123456789abcdef >/etc/machine-id; mkdir -p /etc/ssh")
    deployed.write("/etc/ssh/ssh_host_rsa_key", "-----BEGIN OPENSSH PRIVATE KEY-----\n", 0o600)
    return deployed


def test_every_check_has_an_image_it_rejects() -> None:
    assert set(BAD) == {check["name"] for check in CHECKS}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check["name"])
def test_it_passes_on_a_good_image(throw_away: Machines, good: Machine, check: dict[str, Any]) -> None:
    # A copy, made as the bad ones are: what fails there fails for what was done to it.
    with throw_away.new(like=good) as copy:
        result = look(copy, check)
    assert passes(check, result), result


@pytest.mark.parametrize(("name", "harm"), ROWS)
def test_it_fails_on_a_bad_image(throw_away: Machines, good: Machine, name: str, harm: str) -> None:
    with throw_away.new(like=good) as bad:
        result = look(bad, named(name), harm)
        assert not passes(named(name), result), result


def test_a_finding_is_in_the_output(throw_away: Machines, good: Machine) -> None:
    with throw_away.new(like=good) as bad:
        result = look(bad, named("no private keys"), "echo '-----BEGIN PRIVATE KEY-----' >/etc/left.pem")
    assert result.output == "/etc/left.pem\n"


def test_keys_before_the_first_boot_are_baked_in_wherever_the_clock_stands(baked: tuple[Machine, object]) -> None:
    for name in ("machine id not baked in", "host keys not baked in"):
        assert passes(named(name), baked[0].shell(named(name)["command"]))
