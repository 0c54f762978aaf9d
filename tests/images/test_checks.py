"""Each sample check passes on an instance of the sample image, and fails on one that is bad in its way."""

import re
import shutil
import subprocess
from typing import Any

import pytest

from mayfly.domain.checks import script
from mayfly.domain.contents import compare, read_contents

from .builder import CHECKS
from .conftest import CACHE
from .debian import PUPPET_SERVER, debian
from .machine import Machine, Machines, Result

BASE64 = "head -c 300 /dev/urandom | base64"

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
        "openssl genpkey -algorithm ed25519 -out /opt/key.pem",
        "openssl genrsa -traditional -aes128 -passout pass:secret 2048 >/etc/encrypted.pem",
        "mkdir -p /var/lib/puppet/ssl && openssl genrsa -traditional 2048 >/var/lib/puppet/ssl/builder.pem",
        "openssl ecparam -genkey -name prime256v1 -noout >'/etc/a name with blanks'",
        # As OpenSSH writes it; as a service account has it in JSON; as hiera has it in YAML.
        f"mkdir -p /root/.ssh && {{ echo '-----BEGIN OPENSSH PRIVATE KEY-----'; {BASE64}; }} >/root/.ssh/id_ed25519",
        f'printf \'{{"key": "-----BEGIN PRIVATE KEY-----\\\\n%s"}}\' "$({BASE64} -w 0)" >/srv/account.json',
        f"{{ echo 'key: |'; echo '  -----BEGIN RSA PRIVATE KEY-----'; {BASE64} | sed 's/^/  /'; }} >/etc/common.yaml",
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
    deployed.must("openssl genrsa -traditional 2048 >/etc/ssh/ssh_host_rsa_key")
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
        result = look(bad, named("no private keys"), "openssl genpkey -algorithm ed25519 -out /etc/left.pem")
    assert result.output == "/etc/left.pem\n"


def test_what_puppet_changed_is_what_differs_between_two_images(throw_away: Machines, good: Machine) -> None:
    with throw_away.new(like=good) as changed:
        converge = named("puppet converges")["command"]
        sample, ask = changed.shell(converge), "\n".join(script([]))
        before = read_contents(changed.shell(ask).output)
        changed.must(
            'echo \'file { "/etc/motd.mayfly": content => "hello" }\' >>/opt/mayfly/puppet/production/manifests/site.pp'
        )
        changed.shell(converge)
        changed.must("sed -i '0,/^Version: /s/^Version: .*/Version: 99/' /var/lib/dpkg/status")
        after = read_contents(changed.shell(ask).output)
    assert sample.code == 0
    assert before
    assert after
    assert before.parts["service"]["mayfly-application.service"] == "enabled"
    assert "/opt/mayfly/deploy" in before.parts["file"]
    found = compare(before, after)
    assert [change.name for change in found["file"] if change.before is None] == ["/etc/motd.mayfly"]
    assert [change.after for change in found["package"]] == ["99"]


def test_keys_before_the_first_boot_are_baked_in_wherever_the_clock_stands(baked: tuple[Machine, object]) -> None:
    for name in ("machine id not baked in", "host keys not baked in"):
        assert passes(named(name), baked[0].shell(named(name)["command"]))


def test_the_source_of_a_library_that_reads_keys_is_no_key(throw_away: Machines, good: Machine) -> None:
    """net-ssh, which the packages of Puppet's and OpenVox's agent bring below /opt, here as Debian packages it."""
    library = debian(CACHE, PUPPET_SERVER) / "usr/share/rubygems-integration/all/gems"
    source = subprocess.run(["grep", "-rl", "BEGIN OPENSSH PRIVATE KEY", library], capture_output=True, text=True)
    assert len(source.stdout.splitlines()) >= 2
    with throw_away.new(like=good) as copy:
        shutil.copytree(library, copy.path("/opt/puppetlabs/puppet/lib/ruby/gems/3.2.0/gems"))
        result = look(copy, named("no private keys"))
    assert passes(named("no private keys"), result), result
