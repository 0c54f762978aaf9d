"""What CI servers are to copy is what their published schemas take, and what a shell reads."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CI = ROOT / "ci"
SCHEMAS = {
    "github/action.yml": "vendor.github-actions",
    "github/push.yml": "vendor.github-workflows",
    "github/tests.yml": "vendor.github-workflows",
    "gitlab-ci.yml": "vendor.gitlab-ci",
}


@pytest.mark.parametrize(("file", "schema"), SCHEMAS.items())
def test_its_service_s_schema_takes_it(file, schema):
    line = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(CI / file)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_every_yaml_is_held_against_a_schema_or_read_here():
    assert {path.relative_to(CI).as_posix() for path in CI.rglob("*.yml")} == {*SCHEMAS, "buildspec.yml"}
    spec = yaml.safe_load((CI / "buildspec.yml").read_text())  # CodeBuild publishes no schema
    assert spec["version"] == 0.2
    assert {"install", "build"} == {*spec["phases"]}
    assert all(isinstance(line, str) for phase in spec["phases"].values() for line in phase["commands"])


@pytest.mark.parametrize("script", sorted(CI.glob("*.sh")), ids=lambda path: path.name)
def test_a_shell_reads_it(script):
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("file", ["push.yml", "tests.yml"])
def test_the_workflows_use_what_is_there(file):
    text = (CI / "github" / file).read_text()
    assert ("OWNER/mayfly/ci/github@" in text) == (file == "push.yml")
    inputs = yaml.safe_load((CI / "github" / "action.yml").read_text())["inputs"]
    steps = [step for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"]]
    given = {name for step in steps if "OWNER/mayfly/ci" in step.get("uses", "") for name in step["with"]}
    assert given <= {*inputs}


def test_what_make_and_sam_install_is_pinned_by_hash():
    lines = (ROOT / "Makefile").read_text() + (ROOT / "layers" / "mayfly" / "Makefile").read_text()
    installing = [line for line in lines.replace("\\\n", " ").splitlines() if "pip install" in line]
    assert len(installing) == 3
    for line in installing:
        assert "--require-hashes" in line or "--no-deps --no-build-isolation --editable ." in line, line
    for path in ("requirements.txt", "layers/mayfly/requirements.txt"):
        pinned = [line for line in (ROOT / path).read_text().splitlines() if line and line[0] not in " #"]
        assert pinned
        assert all("==" in line and line.endswith("\\") for line in pinned), path
