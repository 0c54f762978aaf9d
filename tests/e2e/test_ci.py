"""What CI servers are to copy: the scripts, run as they are against the local cloud."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mayfly.domain.identity import release_id
from tests.e2e.driver import Driver

ROOT = Path(__file__).resolve().parents[2]
SMOKE = {"name": "smoke", "runner": {"type": "command", "script": 'test "$MAYFLY_VERSION" = 1.0.0'}}


def run(mayfly: Driver, script: str, *words: str, **known: str) -> subprocess.CompletedProcess[str]:
    """Runs a script as a CI server does: with variables, and with credentials from its surroundings."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {"PATH": path, "HOME": os.environ["HOME"], "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    return subprocess.run(
        [str(ROOT / "ci" / script), *words],
        env={**environ, **mayfly.cloud.environ, **known},
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def version(application: str, number: str = "1.0.0") -> dict[str, str]:
    return {
        "MAYFLY_APPLICATION": application,
        "MAYFLY_VERSION": number,
        "MAYFLY_ARTIFACT": f"s3://artifacts/{application}-{number}.tgz",
        "MAYFLY_COMMIT": "9fceb02d0ae598e95dc970b74767f19372d61af8",
        "MAYFLY_PULL_REQUEST": "7",
        "MAYFLY_BRANCH": "feature/basket",
    }


def test_plain_shell_announces_a_version(mayfly: Driver) -> None:
    application = mayfly.application(suites=[SMOKE])
    done = run(mayfly, "announce.sh", **version(application))
    assert done.returncode == 0, done.stderr
    verdict = mayfly.verdict(release_id(application, "1.0.0", 1))
    assert verdict["detail-type"] == "Release Passed"
    assert verdict["detail"]["pull_request"] == 7
    assert mayfly.release(release_id(application, "1.0.0", 1))["branch"] == "feature/basket"


@pytest.mark.parametrize(("number", "code"), [("1.0.0", 0), ("1.0.1", 1)])
def test_a_pipeline_waits_for_the_verdict_and_ends_like_it(mayfly: Driver, number: str, code: int) -> None:
    application = mayfly.application(suites=[SMOKE])
    done = run(mayfly, "test-version.sh", GITHUB_ACTIONS="true", **version(application, number))
    assert done.returncode == code, done.stderr
    assert mayfly.release(release_id(application, number, 1))["branch"] == "feature/basket"
    assert ("::error title=smoke::smoke failed" in done.stdout) == bool(code), done.stdout


def readme() -> list[str]:
    """The commands from a fresh clone to one's own application's first passed release, as the README has them."""
    section = (ROOT / "README.md").read_text().partition("### Your own application\n")[2].partition("\n## ")[0]
    prose, _, block = section.partition("```sh\n")
    before = re.findall("`((?:git|make) [^`]+)`", prose)
    return [*before, *(line.partition("#")[0].strip() for line in block.partition("```")[0].splitlines())]


def test_one_s_own_application_s_first_release_passes_after_six_commands_without_json(
    mayfly: Driver, tmp_path: Path
) -> None:
    commands = readme()
    assert [line.split()[0] for line in commands] == ["git", "make", ".", "mayfly", "mayfly", "mayfly"]
    assert not any(mark in line for line in commands for mark in "{;&|"), "each is one command"
    environ = {**os.environ, **mayfly.cloud.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/layers/mayfly:{ROOT}/cli"}
    for line in commands[3:]:
        own = [sys.executable, "-c", "from mayfly_cli.main import main; main()", *line.split()[1:]]
        done = subprocess.run(own, env=environ, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, (line, done.stdout, done.stderr)
    verdict = mayfly.verdict(release_id("shop", "1.0.0", 1))
    assert verdict["detail-type"] == "Release Passed"
    assert mayfly.nothing_is_left(verdict["detail"]["suites"][0]["environment"])
