"""What must not get from a builder into an image is removed, and nothing else."""

import os

import pytest

from .builder import IMAGES
from .machine import Machine

GONE = [
    "/etc/ssh/ssh_host_ed25519_key",
    "/etc/ssh/ssh_host_ed25519_key.pub",
    "/etc/ssh/ssh_host_rsa_key",
    "/etc/udev/rules.d/70-persistent-net.rules",
    "/etc/puppet/ssl/private_keys/builder.pem",
    "/etc/puppetlabs/puppet/ssl/private_keys/builder.pem",
    "/home/admin/.bash_history",
    "/home/admin/.ssh/authorized_keys",
    "/home/ec2-user/.ssh/known_hosts",
    "/home/ec2-user/.viminfo",
    "/opt/puppetlabs/puppet/cache/clientbucket/a/secret",
    "/opt/puppetlabs/puppet/cache/state/last_run_report.yaml",
    "/root/.aws/cli/cache/token.json",
    "/root/.bash_history",
    "/root/.ssh/authorized_keys",
    "/root/.ssh/authorized_keys2",
    "/tmp/.hidden",
    "/tmp/folder/file",
    "/var/cache/apt/archives/puppet_7_all.deb",
    "/var/cache/apt/pkgcache.bin",
    "/var/cache/dnf/packages/puppet.rpm",
    "/var/cache/puppet/client_data/catalog/builder.json",
    "/var/cache/puppet/clientbucket/a/secret",
    "/var/cache/puppet/reports/builder/1.yaml",
    "/var/cache/puppet/state/last_run_summary.yaml",
    "/var/cache/yum/x86_64/2/packages/puppet.rpm",
    "/var/lib/amazon/ssm/i-0123456789abcdef0/document/orchestration/x",
    "/var/lib/apt/lists/mirror.example_debian_dists_bookworm_InRelease",
    "/var/lib/cloud/data/instance-id",
    "/var/lib/cloud/instances/i-0123456789abcdef0/user-data.txt",
    "/var/lib/dbus/machine-id",
    "/var/lib/dhcp/dhclient.eth0.leases",
    "/var/lib/puppet/ssl/certs/ca.pem",
    "/var/lib/puppet/ssl/private_keys/builder.pem",
    "/var/lib/systemd/random-seed",
    "/var/log/journal/0123456789abcdef0123456789abcdef/system.journal",
    "/var/log/messages-20261124",
    "/var/log/syslog.1",
    "/var/log/syslog.2.gz",
    "/var/tmp/file with blanks\nand a line end",
]
EMPTY = [
    "/etc/machine-id",
    "/var/log/amazon/ssm/amazon-ssm-agent.log",
    "/var/log/cloud-init-output.log",
    "/var/log/syslog",
]
KEPT = [
    "/etc/puppet/puppet.conf",
    "/etc/puppetlabs/puppet/puppet.conf",
    "/etc/ssh/sshd_config",
    "/etc/udev/rules.d/80-own.rules",
    "/home/admin/.bashrc",
    "/home/admin/.ssh/config",
    "/home/admin/work/.bash_history_of_a_project",
    "/opt/mayfly/puppet/production/manifests/site.pp",
    "/opt/puppetlabs/puppet/cache/lib/facter/own.rb",
    "/root/.profile",
    "/var/cache/puppet/lib/facter/own.rb",
    "/var/lib/amazon/ssm/packages/x",
    "/var/lib/cloud/scripts/per-boot/own.sh",
    "/var/lib/cloud/seed/nocloud/user-data",
    "/var/lib/dpkg/status-of-a-test",
]
TEXT = "content"


@pytest.fixture
def builder(machine: Machine) -> Machine:
    """A machine on which all of it was left."""
    for path in (*GONE, *EMPTY, *KEPT):
        machine.write(path, TEXT)
    return machine


@pytest.fixture
def cleaned(builder: Machine) -> Machine:
    """The same after cleanup."""
    builder.write("/cleanup", (IMAGES / "cleanup.sh").read_text(), 0o755)
    builder.must("ROOT=/ /cleanup")
    return builder


def test_it_removes_all_that_is_the_builders_own(cleaned: Machine) -> None:
    assert [path for path in GONE if os.path.lexists(cleaned.path(path))] == []
    assert {path: cleaned.path(path).read_text() for path in EMPTY} == dict.fromkeys(EMPTY, "")


def test_it_leaves_everything_else(cleaned: Machine) -> None:
    assert {path: cleaned.path(path).read_text() for path in KEPT} == dict.fromkeys(KEPT, TEXT)


def test_folders_that_services_expect_stay(cleaned: Machine) -> None:
    folders = ["/tmp", "/var/tmp", "/var/log/journal", "/var/log/amazon/ssm", "/var/cache/apt/archives", "/root/.ssh"]
    assert [folder for folder in folders if not cleaned.path(folder).is_dir()] == []
    assert cleaned.path("/tmp").stat().st_mode & 0o7777 == 0o1777


def test_repeating_it_changes_nothing(cleaned: Machine) -> None:
    unkept = " -o ".join(f"-path /{name}" for name in ("dev", "proc", "run", "sys"))  # mounted for each command
    listing = f"find / -xdev \\( {unkept} \\) -prune -o -printf '%p %s %m %u %T@\\n' | sort"
    before = cleaned.must(listing)
    cleaned.must("ROOT=/ /cleanup")
    # Emptying an empty log sets its time, and nothing else.
    logs = ("/var/log/", "/etc/machine-id ")
    assert _without(cleaned.must(listing), logs) == _without(before, logs)


def test_cloud_init_cleans_itself_where_it_is(machine: Machine) -> None:
    machine.write("/stand-ins/cloud-init", '#!/bin/sh\necho "cloud-init\t$1\t$2" >>/stand-ins/calls\n', 0o755)
    machine.write("/cleanup", (IMAGES / "cleanup.sh").read_text(), 0o755)
    machine.must("ROOT=/ /cleanup")
    assert machine.calls == [["cloud-init", "clean", "--logs"]]


def test_a_machine_id_of_dbus_that_is_a_link_stays(machine: Machine) -> None:
    machine.must("mkdir -p /var/lib/dbus && ln -sf /etc/machine-id /var/lib/dbus/machine-id")
    machine.write("/cleanup", (IMAGES / "cleanup.sh").read_text(), 0o755)
    machine.must("ROOT=/ /cleanup")
    assert machine.path("/var/lib/dbus/machine-id").is_symlink()


def test_another_root_is_cleaned_and_the_machine_is_not(builder: Machine) -> None:
    builder.write("/cleanup", (IMAGES / "cleanup.sh").read_text(), 0o755)
    for path in ("/etc/ssh/ssh_host_rsa_key", "/var/log/syslog", "/etc/machine-id"):
        builder.write(f"/srv/root{path}", TEXT)
    builder.must("ROOT=/srv/root /cleanup")
    assert not builder.path("/srv/root/etc/ssh/ssh_host_rsa_key").exists()
    assert builder.path("/srv/root/var/log/syslog").read_text() == ""
    left = [path for path in (*GONE, *EMPTY, *KEPT) if builder.path(path).read_text() != TEXT]
    assert left == []


def test_without_a_root_it_refuses(builder: Machine) -> None:
    builder.write("/cleanup", (IMAGES / "cleanup.sh").read_text(), 0o755)
    refused = builder.shell("/cleanup")
    assert refused.code != 0
    assert "ROOT" in refused.output
    assert builder.path("/etc/machine-id").read_text() == TEXT


def test_an_empty_root_folder_is_no_error(machine: Machine) -> None:
    machine.write("/cleanup", (IMAGES / "cleanup.sh").read_text(), 0o755)
    machine.must('mkdir /srv/empty && ROOT=/srv/empty /cleanup && test -z "$(ls -A /srv/empty)"')


def _without(listing: str, starts: tuple[str, ...]) -> list[str]:
    return [line for line in listing.splitlines() if not line.startswith(starts)]
