"""What is on the premises, for real: a Puppet server with Mayfly's policy, and AWS's signature of who an instance is.

The server is Debian's `puppetserver` on a throw-away machine of its own; instances reach its port 8140 as `puppet`.
"""

import base64
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mayfly.domain.puppet_secret import derive

from .builder import IMAGES
from .machine import Machine, Result

ACCOUNT = "222222222222"
CONTROLLER = "111111111111/us-east-1/mayfly"
KEY = "the-key-that-mayfly-and-the-puppet-server-share"
SERVER = "puppet"
SIGNED = "/etc/puppet/puppetserver/ca/signed"

_CONFIGURE = f"""set -e
puppet config set --section main server {SERVER}
puppet config set --section main certname {SERVER}
sed -i 's/ssl-host: .*/ssl-host: 127.0.0.1/' /etc/puppet/puppetserver/conf.d/webserver.conf
echo 'product: {{ check-for-updates: false }}' >/etc/puppet/puppetserver/conf.d/product.conf
sed -i 's/-Xms1g -Xmx1g/-Xms512m -Xmx768m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC/' /etc/default/puppetserver
puppetserver ca setup
"""
_INSTALL = """
class { 'mayfly::server':
  key              => Sensitive('%s'),
  aws_certificates => '/srv/aws-certificates',
  living           => 's3://reports/living-instances.json',
}
"""


class Aws:
    """AWS's signature under identity documents: a key of its own, and the certificate that everybody knows."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(exist_ok=True)
        self.certificate = folder / "aws.pem"
        _openssl(
            "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "1", "-subj", "/CN=Amazon Web Services",
            "-keyout", str(folder / "aws.key"), "-out", str(self.certificate),
        )  # fmt: skip

    def document(self, instance: str, account: str = ACCOUNT, launched: datetime | None = None, *more: str) -> str:
        """What an instance's metadata has at `dynamic/instance-identity/rsa2048`. AWS sends no certificate along."""
        said = {
            "accountId": account,
            "instanceId": instance,
            "pendingTime": f"{launched or datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "region": "us-east-1",
        }
        signed = _openssl(
            "smime", "-sign", "-nodetach", "-binary", *(more or ["-nocerts"]), "-outform", "DER", "-md", "sha256",
            "-signer", str(self.certificate), "-inkey", str(self._folder / "aws.key"), input_=json.dumps(said).encode(),
        )  # fmt: skip
        return base64.encodebytes(signed).decode()


def _openssl(*words: str, input_: bytes = b"") -> bytes:
    return subprocess.run(["openssl", *words], input=input_, check=True, capture_output=True).stdout


def secret(environment: str, account: str = ACCOUNT, controller: str = CONTROLLER) -> str:
    """What Mayfly hands to an environment."""
    return derive(KEY, controller, account, environment)


@dataclass
class PuppetServer:
    """The running server."""

    machine: Machine
    socket: str
    aws: Aws
    _process: "subprocess.Popen[str]"
    log: list[str]
    """What it has said so far."""

    def run(self, script: str) -> Result:
        """Runs a script beside the running server, in its network."""
        return self.machine.beside(self._process, script)

    @property
    def names(self) -> set[str]:
        """Those that have a certificate."""
        return {file.stem for file in self.machine.path(SIGNED).glob("*.pem")}


@contextmanager
def puppet_server(machine: Machine, folder: Path, site: str) -> Iterator[PuppetServer]:
    """Sets a Puppet server up as docs/tasks/puppet-server.md says, starts it, and waits until it says that it runs."""
    aws = Aws(folder / "aws")
    socket = str(folder / "puppet.sock")
    machine.network = {"offer": {"8140": socket}}
    environment = machine.path("/etc/puppet/code/environments/production")
    shutil.copytree(IMAGES / "puppet", environment, dirs_exist_ok=True)
    (environment / "manifests/site.pp").write_text(site)
    machine.path("/srv/aws-certificates").mkdir()
    shutil.copy(aws.certificate, machine.path("/srv/aws-certificates/us-east-1.pem"))
    machine.write("/etc/hosts", f"127.0.0.1 localhost {SERVER}\n")
    machine.write("/srv/server.pp", _INSTALL % KEY)
    # Where its scripts look, which take no folder of the caller's.
    machine.must("ln -s /stand-ins/aws /usr/local/bin/aws")
    machine.must(_CONFIGURE)
    machine.must("puppet apply --modulepath /etc/puppet/code/environments/production/modules /srv/server.pp")
    running = machine.start("puppetserver", "foreground", metadata=True)
    assert running.stdout
    log: list[str] = []
    for line in running.stdout:
        log.append(line)
        if "Puppet Server has successfully started" in line:
            break
    else:
        raise AssertionError("".join(log))
    threading.Thread(target=log.extend, args=(running.stdout,), daemon=True).start()
    try:
        yield PuppetServer(machine, socket, aws, running, log)
    finally:
        running.kill()
        running.wait()
