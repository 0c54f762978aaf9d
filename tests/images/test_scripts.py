"""What can be said of the files in images/ without running them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .builder import CHECKS, IMAGES, user_data
from .machine import STAND_INS, Machine

FILES = IMAGES / "puppet/modules/mayfly/files"
SCRIPTS = [IMAGES / "bake.sh", IMAGES / "cleanup.sh", FILES / "deploy", FILES / "version", *sorted(STAND_INS.iterdir())]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_clean(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)
    shellcheck = Path(sys.executable).with_name("shellcheck")  # one of the development packages
    found = subprocess.run([shellcheck, script], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_can_be_executed(script: Path) -> None:
    assert script.stat().st_mode & 0o111 == 0o111


def test_user_data_fits() -> None:
    assert len(user_data().encode()) < 16 * 1024, "EC2's limit; room is left for a family's own values"


def test_what_the_builder_is_told_is_documented() -> None:
    script = (IMAGES / "bake.sh").read_text()
    documented = set(re.findall(r"^# (MAYFLY_[A-Z0-9_]+) ", script, re.MULTILINE))
    assert documented == set(re.findall(r"\bMAYFLY_[A-Z0-9_]+\b", script))
    assert documented == set(re.findall(r'"\$\{(MAYFLY_[A-Z0-9_]+):=', script))


def test_puppet_parses_the_manifests(machine: Machine) -> None:
    shutil.copytree(IMAGES / "puppet", machine.path("/srv/puppet"))
    machine.must("find /srv/puppet -name '*.pp' -exec puppet parser validate {} +")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check["name"])
def test_checks_are_well_formed(check: dict[str, object]) -> None:
    assert {"name", "command", "exit"} <= set(check) <= {"name", "command", "exit", "stdout"}
    subprocess.run(["sh", "-n", "-c", str(check["command"])], check=True)
    re.compile(str(check.get("stdout", "")))


def test_checks_have_names_of_their_own() -> None:
    assert len({check["name"] for check in CHECKS}) == len(CHECKS)
