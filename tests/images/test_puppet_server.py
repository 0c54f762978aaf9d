"""The story on its real parts: a Puppet server that compiles for a builder and for instances that boot at once with
the blueprint's own user data, a box that wants a token, and certificates that come and go without a person."""

import hashlib
import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.blueprint import user_data
from tests.local.local_toys import eventually

from .builder import Bake, bake, packed
from .conftest import APPLICATION
from .machine import Machine, Machines
from .premises import ACCOUNT, CONTROLLER, SERVER, SIGNED, PuppetServer, secret

ENVIRONMENT = "webshop-1-4-2-smoke-0a1b2c3d"
BOX = "http://127.0.0.1:8000/webshop.tar.gz"
TOKEN = "the-token-of-the-box"
ARTIFACT = packed(start=APPLICATION)
SHA256 = hashlib.sha256(ARTIFACT).hexdigest()


@dataclass(frozen=True)
class Boot:
    """How an instance's first boot went."""

    name: str
    code: int
    output: str
    machine: Machine

    def tags(self, key: str) -> list[str]:
        """What it wrote into one of its tags, one after the other."""
        before = f"Key=mayfly:{key},Value="
        return [call[-1].removeprefix(before) for call in self.machine.calls if call[-1].startswith(before)]

    @property
    def signals(self) -> list[str]:
        """The exit codes that CloudFormation was told."""
        return [call[2] for call in self.machine.calls if call[0] == "cfn-signal"]


@contextmanager
def instance(throw_away: Machines, server: PuppetServer, image: Machine, number: int) -> Iterator[Machine]:
    """An instance of the image, before its first boot."""
    with throw_away.new(like=image) as made:
        join(made, server, f"i-0123456789abcde{number:02x}")
        (made.artifacts / "webshop.tar.gz").write_bytes(ARTIFACT)
        (made.artifacts / "box.json").write_text(json.dumps({"token": TOKEN}))
        made.write("/stand-ins/ssm/box", TOKEN)
        # Waiting is recorded; the stand-ins' own, of less than a second, is real.
        sleep = 'case $1 in *.*) exec /usr/bin/sleep "$1" ;; esac; printf "sleep\\t%s\\n" "$1" >>/stand-ins/calls'
        made.write("/stand-ins/sleep", f"#!/bin/sh\n{sleep}\n", 0o755)
        yield made


def join(machine: Machine, server: PuppetServer, name: str) -> None:
    """Gives a machine an identity, and the way to the Puppet server."""
    machine.metadata |= {
        "meta-data/instance-id": name,
        "dynamic/instance-identity/rsa2048": server.aws.document(name),
    }
    machine.network = {"reach": {"8140": server.socket}}
    machine.write("/etc/hosts", f"127.0.0.1 localhost {SERVER}\n")


def boot(machine: Machine, patience: str = "180s", **parameters: str) -> Boot:
    """The first boot with the blueprint's own user data.

    Args:
        patience: with an answer of the server, once the instance has its certificate.
    """
    given = {
        "EnvironmentId": ENVIRONMENT,
        "Controller": CONTROLLER,
        "ArtifactLocation": f"{BOX}#sha256={SHA256}",
        "ArtifactToken": "box",
        "PuppetServer": SERVER,
        "PuppetSecret": secret(ENVIRONMENT),
        "HealthCheckPath": "/",
        "VersionScript": "/opt/mayfly/version",
    } | parameters
    machine.write("/stand-ins/calls", "")
    script = "/var/lib/cloud/instance/scripts/part-001"
    text = user_data(**given)
    assert "converge() {\n" in text
    machine.write(script, text.replace("converge() {\n", f"converge() {{\n  patience={patience}\n"), 0o700)
    done = machine.run("bash", script, metadata=True)
    name = f"{given['EnvironmentId'][:45]}-{machine.metadata['meta-data/instance-id'][2:]}"
    return Boot(name, done.code, done.output, machine)


@pytest.fixture(scope="session")
def image(throw_away: Machines, server: PuppetServer) -> Iterator[tuple[Machine, Bake]]:
    """The image that a bake in agent mode made, and how it went. Not to be written to."""
    with throw_away.new() as made:
        join(made, server, "i-0b111de4000000000")
        baking = {
            "mode": "agent",
            "puppet_server": SERVER,
            "puppet_secret": secret("base-0a1b2c3d"),
            "controller": CONTROLLER,
        }
        yield made, bake(made, **baking)


@pytest.fixture
def fresh(
    throw_away: Machines, server: PuppetServer, image: tuple[Machine, Bake], request: pytest.FixtureRequest
) -> Iterator[Machine]:
    """An instance of that image, of an id of its own."""
    number = 16 + int(hashlib.sha256(request.node.name.encode()).hexdigest()[:2], 16) % 200
    with instance(throw_away, server, image[0], number) as made:
        yield made


@pytest.fixture(scope="session")
def booted(throw_away: Machines, server: PuppetServer, image: tuple[Machine, Bake]) -> Iterator[list[Boot]]:
    """Five instances of an environment, booted at once: the fourth finds something else in the box, and the fifth has
    another environment's secret."""
    with ExitStack() as stack, ThreadPoolExecutor() as pool:
        machines = [stack.enter_context(instance(throw_away, server, image[0], number)) for number in range(5)]
        (machines[3].artifacts / "webshop.tar.gz").write_bytes(packed(start=APPLICATION + "# another"))
        secrets = [secret(ENVIRONMENT)] * 4 + [secret("webshop-1-4-2-smoke-another0")]
        yield list(pool.map(lambda machine, own: boot(machine, PuppetSecret=own), machines, secrets))


@pytest.fixture(scope="session")
def fleet(booted: list[Boot]) -> list[Boot]:
    """The three of them that nothing is wrong with."""
    return booted[:3]


class TestABake:
    def test_is_configured_by_the_server(self, image: tuple[Machine, Bake]) -> None:
        machine, done = image
        assert done.result == "ok", done.log
        assert done.shut_down
        assert "Notice: Applied catalog" in done.log
        assert machine.path("/opt/mayfly/deploy").exists()

    def test_leaves_no_certificate_in_the_image(self, image: tuple[Machine, Bake], server: PuppetServer) -> None:
        assert "base-0a1b2c3d-0b111de4000000000" in server.names
        assert not list(image[0].path("/var/lib/puppet/ssl").rglob("*.pem"))

    def test_without_the_secret_gets_no_certificate(self, throw_away: Machines, server: PuppetServer) -> None:
        with throw_away.new() as made:
            join(made, server, "i-0b111de4000000001")
            done = bake(made, mode="agent", puppet_server=SERVER)
        assert done.result == "failed: certificate exit 1", done.log
        assert done.shut_down


class TestAFleet:
    def test_three_at_once_get_certificates_converge_deploy_and_signal(self, fleet: list[Boot]) -> None:
        assert [one.code for one in fleet] == [0, 0, 0], fleet[0].output
        assert [one.signals for one in fleet] == [["0"], ["0"], ["0"]]
        assert len({one.name for one in fleet}) == 3
        assert [one.tags("version") for one in fleet] == [["1.4.2"]] * 3

    def test_each_step_is_told_with_its_duration(self, fleet: list[Boot]) -> None:
        for one in fleet:
            said = one.tags("boot")
            steps = [
                "set the host name",
                "certificate",
                "catalogue",
                "converge",
                "deploy",
                "health",
                "version",
                "signal",
            ]
            assert [told.rpartition("; ")[2].partition(" since")[0] for told in said[:-1]] == steps
            assert said[-1].startswith("ready after ")

    def test_each_has_a_certificate_with_its_instance_and_environment_in_it(
        self, fleet: list[Boot], server: PuppetServer
    ) -> None:
        for one in fleet:
            assert one.name in server.names
            file = server.machine.path(f"{SIGNED}/{one.name}.pem")
            seen = subprocess.run(["openssl", "x509", "-noout", "-text", "-in", file], capture_output=True, text=True)
            assert f"i-{one.name[-17:]}" in seen.stdout
            assert ENVIRONMENT in seen.stdout


class TestWhatFails:
    def test_a_box_that_serves_something_else_fails_one_and_not_the_others(self, booted: list[Boot]) -> None:
        done = booted[3]
        assert f"deploy: expected the sha256 {SHA256}; but it is" in done.tags("boot")[-1], done.output
        assert [one.signals for one in booted[:4]] == [["0"]] * 3 + [["1"]]

    def test_a_certificate_that_is_refused_fails_one_and_not_the_others(
        self, booted: list[Boot], server: PuppetServer
    ) -> None:
        done = booted[4]
        assert done.signals == ["1"]
        assert " certificate: exit code 1: " in done.tags("boot")[-1], done.tags("boot")
        assert done.name not in server.names
        assert server.names >= {one.name for one in booted[:4]}
        refused = f"{done.name} is refused: its password is not of {ENVIRONMENT}"
        assert eventually(lambda: any(refused in line for line in [*server.log]))

    def test_a_server_that_is_down(self, fresh: Machine) -> None:
        fresh.network = {}
        done = boot(fresh)
        assert " certificate: exit code 1: Error: No more routes to ca" in done.tags("boot")[-1]
        assert "Connection refused" in done.tags("boot-log")[-1]

    def test_a_server_that_is_slow(self, fresh: Machine, server: PuppetServer) -> None:
        self.serve(server, "slow", "node default { notice(generate('/usr/bin/sleep', '6')) }\n")
        done = boot(fresh, patience="1s", PuppetEnvironment="slow")
        assert " catalogue: exit code 1: " in done.tags("boot")[-1]
        assert "timed out" in done.output
        assert [call for call in fresh.calls if call[0] == "sleep"] == [
            ["sleep", "10"],
            ["sleep", "30"],
            ["sleep", "60"],
        ]
        assert done.signals == ["1"]

    def test_a_box_that_is_busy_is_asked_again_on_the_instance(self, fresh: Machine) -> None:
        (fresh.artifacts / "box.json").write_text(json.dumps({"token": TOKEN, "busy": 4}))
        done = boot(fresh)
        assert done.signals == ["0"], done.output
        assert ["sleep", "10"] in fresh.calls
        assert "cannot be fetched now (curl 22, status 503)" in done.output

    def serve(self, server: PuppetServer, environment: str, manifest: str) -> None:
        """Gives the server another environment."""
        folder = server.machine.path(f"/etc/puppet/code/environments/{environment}/manifests")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "site.pp").write_text(manifest)

    def test_a_catalogue_that_does_not_compile(self, fresh: Machine, server: PuppetServer) -> None:
        self.serve(server, "broken", "node default { fail('this release of the code is broken') }\n")
        done = boot(fresh, PuppetEnvironment="broken")
        assert " catalogue: exit code 1: " in done.tags("boot")[-1]
        assert "this release of the code is broken" in done.output


class TestThePolicy:
    """Requests of somebody who has got hold of something."""

    INSTANCE = "i-0fedcba9876543210"
    NAME = f"{ENVIRONMENT}-{INSTANCE[2:]}"

    def ask(self, server: PuppetServer, name: str = NAME, more: str = "", **changed: str) -> str:
        """What the policy says to a request of a certificate that is right but for what is changed."""
        right = {
            "password": hmac_of(secret(ENVIRONMENT), self.NAME),
            "document": server.aws.document(self.INSTANCE),
            "instance": self.INSTANCE,
            "environment": ENVIRONMENT,
            "controller": CONTROLLER,
        } | changed
        server.machine.write("/tmp/request.rb", REQUEST)
        server.machine.write("/tmp/request.json", json.dumps(right | {"name": name, "more": more}))
        return server.run(
            f"ruby /tmp/request.rb | runuser -u puppet /etc/puppet/mayfly/autosign {name}; echo exit $?"
        ).output

    def test_signs_what_is_right(self, server: PuppetServer) -> None:
        assert f"{self.NAME} is signed: {self.INSTANCE} of {ENVIRONMENT} in {ACCOUNT}\nexit 0" in self.ask(server)

    @pytest.mark.parametrize(
        ("changed", "says"),
        [
            ({"name": f"{ENVIRONMENT}-0fedcba9876543211"}, "expected the name"),
            ({"name": "puppet"}, "expected the name"),
            ({"instance": "i-0fedcba9876543211"}, "but its identity document is of i-0fedcba9876543210"),
            ({"environment": "webshop-1-4-3-smoke-0a1b2c3d"}, "expected the name"),
            ({"controller": "333333333333/us-east-1/mayfly"}, "its password is not of"),
            ({"password": "0" * 64}, "its password is not of"),
            ({"password": ""}, "its password is not of"),
            ({"document": "bm90aGluZw=="}, "is refused"),
            ({"more": "subjectAltName"}, "expected the extensions"),
            ({"more": "1.3.6.1.4.1.34380.1.3.39"}, "expected the extensions"),
        ],
        ids=lambda value: value if isinstance(value, str) else " ".join(value),
    )
    def test_refuses_what_is_not(self, server: PuppetServer, changed: dict[str, str], says: str) -> None:
        said = self.ask(server, **changed)
        assert said.endswith("exit 1\n"), said
        assert says in said

    def test_refuses_an_instance_of_another_account(self, server: PuppetServer) -> None:
        said = self.ask(server, document=server.aws.document(self.INSTANCE, "999999999999"))
        assert f"its password is not of {ENVIRONMENT} in 999999999999" in said

    def test_refuses_a_document_of_the_day_before(self, server: PuppetServer) -> None:
        launched = datetime.now(UTC) - timedelta(hours=25)
        assert "more than a day" in self.ask(server, document=server.aws.document(self.INSTANCE, ACCOUNT, launched))

    def test_refuses_a_document_that_somebody_else_signed_and_sent_the_certificate_along(
        self, server: PuppetServer, tmp_path: Path
    ) -> None:
        forged = type(server.aws)(tmp_path / "forger").document(self.INSTANCE, ACCOUNT, None, "-nointern")
        assert "is signed by none of" in self.ask(server, document=forged)


class TestCertificatesOfTheGone:
    def publish(self, server: PuppetServer, living: list[str], hours: int = 1, **changed: object) -> str:
        """What the server's timer says about this list, when the certificates are so many hours old."""
        found = {"controller": CONTROLLER, "at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", "instances": living}
        server.machine.write("/stand-ins/s3/reports/living-instances.json", json.dumps(found | changed))
        server.run(f"find {SIGNED} -type f -exec touch -d '{hours} hours ago' {{}} +")
        return server.run("$(sed -n s/^ExecStart=//p /etc/systemd/system/mayfly-clean.service); echo exit $?").output

    def test_nothing_is_removed_by_an_old_list(self, server: PuppetServer, fleet: list[Boot]) -> None:
        old = f"{datetime.now(UTC) - timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}"
        assert "nothing is removed\nexit 1" in self.publish(server, [], at=old)
        assert server.names >= {one.name for one in fleet}

    def test_another_installations_list_is_not_about_ours(self, server: PuppetServer, fleet: list[Boot]) -> None:
        assert "0 removed\nexit 0" in self.publish(server, [], controller="333333333333/us-east-1/mayfly")
        assert server.names >= {one.name for one in fleet}

    def test_those_that_are_hardly_older_than_the_list_stay(self, server: PuppetServer, fleet: list[Boot]) -> None:
        assert "0 removed\nexit 0" in self.publish(server, [], hours=0)
        assert server.names >= {one.name for one in fleet}

    def test_those_of_terminated_instances_are_revoked_and_removed(
        self, server: PuppetServer, fleet: list[Boot]
    ) -> None:
        stays, *gone = fleet
        said = self.publish(server, [f"i-{stays.name[-17:]}"])
        assert said.endswith("exit 0\n"), said
        left = server.names
        assert left == {SERVER, stays.name}, "that of the one whose deploy failed is gone, too"
        again = "puppet agent --test --noop --server {} --certname {}"
        assert stays.machine.shell(again.format(SERVER, stays.name), metadata=True).code == 0
        refused = gone[0].machine.shell(again.format(SERVER, gone[0].name), metadata=True)
        assert refused.code == 1
        assert "alert certificate" in refused.output, "the server does not let it in any more"


def hmac_of(key: str, text: str) -> str:
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-hmac", key], input=text, capture_output=True, text=True, check=True
    )
    return done.stdout.split()[-1]


REQUEST = """
require 'json'
require 'openssl'
right = JSON.parse(File.read('/tmp/request.json'))
key = OpenSSL::PKey::RSA.new(2048)
request = OpenSSL::X509::Request.new
request.subject = OpenSSL::X509::Name.new([['CN', right['name']]])
request.public_key = key.public_key
text = ->(value) { OpenSSL::ASN1::UTF8String.new(value) }
set = ->(value) { OpenSSL::ASN1::Set.new([value]) }
request.add_attribute(OpenSSL::X509::Attribute.new('challengePassword', set.(text.(right['password']))))
request.add_attribute(OpenSSL::X509::Attribute.new('1.3.6.1.4.1.34380.1.2.1.1', set.(text.(right['document']))))
asked = { '1.3.6.1.4.1.34380.1.1.2' => right['instance'], '1.3.6.1.4.1.34380.1.1.11' => right['controller'],
          '1.3.6.1.4.1.34380.1.1.12' => right['environment'] }
extensions = asked.map { |oid, value| OpenSSL::X509::Extension.new(oid, text.(value).to_der, false) }
if right['more'] == 'subjectAltName'
  extensions << OpenSSL::X509::ExtensionFactory.new.create_extension('subjectAltName', 'DNS:puppet')
elsif right['more'] != ''
  extensions << OpenSSL::X509::Extension.new(right['more'], text.('true').to_der, false)
end
request.add_attribute(OpenSSL::X509::Attribute.new('extReq', set.(OpenSSL::ASN1::Sequence(extensions))))
request.sign(key, OpenSSL::Digest.new('SHA256'))
puts request.to_pem
"""
