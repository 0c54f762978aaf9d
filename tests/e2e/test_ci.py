"""What CI servers are to copy: the scripts, run as they are against the local cloud."""

import os
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
    }


def test_plain_shell_announces_a_version(mayfly: Driver) -> None:
    application = mayfly.application(suites=[SMOKE])
    done = run(mayfly, "announce.sh", **version(application))
    assert done.returncode == 0, done.stderr
    verdict = mayfly.verdict(release_id(application, "1.0.0", 1))
    assert verdict["detail-type"] == "Release Passed"
    assert verdict["detail"]["pull_request"] == 7


@pytest.mark.parametrize(("number", "code"), [("1.0.0", 0), ("1.0.1", 1)])
def test_a_pipeline_waits_for_the_verdict_and_ends_like_it(mayfly: Driver, number: str, code: int) -> None:
    application = mayfly.application(suites=[SMOKE])
    done = run(mayfly, "test-version.sh", GITHUB_ACTIONS="true", **version(application, number))
    assert done.returncode == code, done.stderr
    assert ("::error title=smoke::smoke failed" in done.stdout) == bool(code), done.stdout


def test_one_s_own_application_s_first_release_passes_without_json(mayfly: Driver, tmp_path: Path) -> None:
    """After `make local` and `. .local/environ`: init, apply, push. Five commands."""
    commands = (
        ("app", "init", "shop"),
        ("app", "apply", "shop.yaml", "--yes"),
        ("push", "shop", "1.0.0", "s3://artifacts/shop-1.0.0.tgz", "--watch"),
    )
    environ = {**os.environ, **mayfly.cloud.environ, "PYTHONPATH": f"{ROOT}:{ROOT}/layers/mayfly:{ROOT}/cli"}
    for words in commands:
        line = [sys.executable, "-c", "from mayfly_cli.main import main; main()", *words]
        done = subprocess.run(line, env=environ, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
