"""Every command that README and docs show, run as it is written and in the order in which somebody reads, in one shell
and on one local cloud that `make local` has started in a copy of the checkout."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from local.cloud import ADMIN_KEYS, PATIENCE_SECONDS, WORKLOAD_ACCOUNT, LocalCloud
from local.install import ROOT, configure, installed
from mayfly.domain.identity import environment_id, release_id
from tests.items import all_items, read_item

type Json = dict[str, Any]

PAGES = (
    *("README.md", "docs/guide.md", "docs/applications.md", "docs/admission.md", "docs/tasks/roll-out.md"),
    *("docs/tasks/new-application.md", "docs/tasks/new-blueprint.md", "docs/tasks/add-an-account.md"),
    *("docs/tasks/bake-an-image.md", "docs/tasks/promote-an-image.md", "docs/tasks/puppet-server.md"),
    *("docs/runners.md", "docs/security.md", "docs/cli.md", "docs/api.md", "docs/operations.md"),
    *("docs/acceptance.md", "docs/tasks/uninstall.md"),
)
"""In the order of reading; what deletes the installation comes last."""
ELSEWHERE = {
    "make local": "the cloud that all others run on: the fixture starts it",
    "make test": "it runs this",
    "make demo": "a cloud of its own",
    "make accept": "a cloud or an account of its own: tests/e2e/test_accept.py",
    "make invoke": "needs a container: tests/sam_local",
    "uv tool install": "goes into the home of who runs it: tests/e2e/test_cli.py installs the wheel",
}
"""What is not run here, by how it begins, and why."""
IN_THE_WORKLOAD_ACCOUNT = (
    *(f"workload-{part}-of-mayfly" for part in ("$part", "account", "images", "region")),
    *("my-blueprint", "mayfly-webshop"),
)
"""What CloudFormation commands speak of that are for somebody of the workload account."""
ENDS_WITH = re.compile(r"# .*ends with (\d)")
BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
FASTER = 60
"""How many times as fast time runs while there are rollouts: their soaks and health checks are minutes."""
EXTENSION = "/extension"
"""How the request ends that extends an environment by the API."""
OVER = "-- over "
SHOWN = 8_000


@dataclass(frozen=True)
class Command:
    """A command as a page shows it."""

    page: str
    text: str

    @property
    def code(self) -> int:
        """The exit code that its comment says."""
        said = ENDS_WITH.search(self.text)
        return int(said[1]) if said else 0

    @property
    def account(self) -> str:
        """Whose credentials its reader has."""
        there = "cloudformation" in self.text and any(name in self.text for name in IN_THE_WORKLOAD_ACCOUNT)
        return "workload" if there else "controller"


def commands(page: str) -> Iterator[Command]:
    """The commands of a page. Where one ends that has several lines, a shell knows."""
    for block in BLOCK.findall((ROOT / page).read_text()):
        held: list[str] = []
        for line in block.splitlines():
            held.append(line)
            parsed = subprocess.run(["bash", "-n"], input="\n".join(held), text=True, capture_output=True, check=False)
            if not line.endswith("\\") and parsed.returncode == 0:
                yield Command(page, "\n".join(held).strip())
                held = []


class Reader:
    """Runs commands in a shell, and does what the pages say beside the commands: edits a file, reports
    tests, waits until something is there, answers what is asked."""

    def __init__(self, checkout: Path, cloud: LocalCloud) -> None:
        self.checkout, self.cloud = checkout, cloud
        environ = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        environ["PYTHONPATH"] = f"{checkout}/layers/mayfly:{checkout}/cli"
        self._shell = subprocess.Popen(
            ["bash", "--norc"],
            cwd=checkout,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.nonsense = 0

    def tell(self, line: str) -> tuple[int, str]:
        """Runs something in the shell; how it ended, and what was printed."""
        assert self._shell.stdin
        assert self._shell.stdout
        self._shell.stdin.write(f"{line}\nprintf '\\n{OVER}%s\\n' $?\n")
        self._shell.stdin.flush()
        said: list[str] = []
        limit = threading.Timer(PATIENCE_SECONDS, self.close)
        limit.start()
        try:
            for printed in self._shell.stdout:
                if printed.startswith(OVER):
                    return int(printed.removeprefix(OVER)), "".join(said)
                said.append(printed)
        finally:
            limit.cancel()
        raise AssertionError(f"the shell ended, by itself or after {PATIENCE_SECONDS} s: {line}\n{''.join(said)}")

    def close(self) -> None:
        """Ends the shell and what it runs."""
        with suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()

    def run(self, command: Command) -> str | None:
        """Runs a command of a page; what went wrong, if anything did."""
        answers = self.checkout / "answers"
        answers.write_text(self.answers(command.text))
        line = f"{{\n{command.text}\n}} < '{answers}'"
        if command.account == "workload":
            variables = {"AWS_ENDPOINT_URL": self.cloud.workload_url, "AWS_ACCESS_KEY_ID": ADMIN_KEYS["workload"]}
            exports = " ".join(f"{name}={value}" for name, value in variables.items())
            line = f"(export {exports}\n{command.text}\n) < '{answers}'"
        began = time.monotonic()
        hurry = self.cloud.hurry(FASTER) if "watch webshop-production" in command.text else nullcontext()
        with hurry:
            code, said = self.tell(line)
        print(f"{time.monotonic() - began:5.1f} s  {code}  {command.page}: {command.text.splitlines()[0]}")  # noqa: T201
        if code == command.code:
            return None
        wrong = f"{command.page}: {command.text}\nended with {code}, not {command.code}:\n{said[-SHOWN:]}"
        print(wrong)  # noqa: T201  # whoever waits for the rest may look at it already
        return wrong

    def answers(self, text: str) -> str:
        """What somebody types where the command asks."""
        if "--guided" not in text:
            return "y\n" * 5
        own = {"WorkloadAccounts": WORKLOAD_ACCOUNT}
        template = yaml_parse((self.checkout / "template.yaml").read_text())
        # Its name and Region, the parameters; of the rest, what is proposed.
        typed = ["", "", *(own.get(name, "") for name in template["Parameters"])]
        return "\n".join([*typed, *[""] * 10])

    # ---- what somebody does between commands ------------------------------------------------------------------

    def before(self, command: Command) -> None:
        """Does what has to be done before it."""
        preparations: dict[str, Callable[[], object]] = {
            "mayfly approve": self.wants_approval,
            "aws cloudformation update-termination": self.no_longer_wants_production,
            "aws ssm put-parameter --name /mayfly/images/base/stable": self.knows_an_image,
            "aws ssm put-parameter --name /mayfly/applications/myapp": self.edits_application,
            "mayfly push myapp 0.0.1": lambda: self.tests("myapp", "0.0.1"),
            "cp tests/blueprints/single.yaml": self.knows_an_image,
            "mayfly push myapp 0.0.2": lambda: self.tests(
                "myapp", "0.0.2", blueprint="my-blueprint.yaml", parameters={}
            ),
            "aws ssm put-parameter --name /mayfly/families/base": self.edits_family,
            "mayfly compare": self.knows_two_bakes,
            "curl --fail --upload-file": self.has_a_report,
            "aws cognito-idp admin-create-user": lambda: self.tell("POOL=$MAYFLY_UserPoolId"),
            EXTENSION: lambda: self.ready("webshop-1-5-1-bf423e08-smoke"),
            "mayfly dead-letters": self.says_nonsense,
            "git checkout v0.2.0": self.has_two_versions,
        }
        for begins, act in preparations.items():
            if command.text.startswith(begins) or (begins == EXTENSION and begins in command.text):
                act()

    def until(self, look: Callable[[], object], what: str) -> None:
        """Waits until there is something to see."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not look():
            assert time.monotonic() < give_up, f"not within {PATIENCE_SECONDS} s: {what}"
            time.sleep(0.2)

    def record(self, key: str) -> Json:
        """A record."""
        return read_item(self.cloud, self.outputs["TableName"], key)

    @cached_property
    def outputs(self) -> dict[str, str]:
        """What the installation consists of."""
        return installed(self.cloud).outputs

    def ready(self, environment: str) -> None:
        """Waits until the tests of an environment may begin."""
        self.until(lambda: self.record(f"environment#{environment}").get("stage") == "awaiting tests", environment)

    def configuration(self, application: str) -> Json:
        """What an application is configured like."""
        name = f"/mayfly/applications/{application}"
        return dict(json.loads(self.cloud.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]))

    def wants_approval(self) -> None:
        """Production is to be approved; a version has passed and waits for that."""
        webshop = self.configuration("webshop")
        webshop["permanent"][0]["rollout"] |= {"when": "approved"}
        webshop["suites"] = [{"name": "smoke"}]
        self.tests("webshop", "1.6.0", **webshop)
        code, said = self.tell("mayfly push webshop 1.6.0 s3://artifacts/webshop-1.6.0.tgz --watch")
        assert code == 0, said
        self.until(
            lambda: self.record("rollout#webshop-production-2").get("stage") == "awaiting approval",
            "webshop-production-2 waits for its approval",
        )

    def no_longer_wants_production(self) -> None:
        """What was stopped is over, and the application's configuration names it no more."""
        with self.cloud.hurry(FASTER):
            self.until(
                lambda: "live" not in self.record("rollout#webshop-production-4"), "webshop-production-4 has gone back"
            )
        configure(self.cloud, "webshop", self.configuration("webshop") | {"permanent": []})
        self.tell(f"YOUR_ROLE=arn:aws:iam::{WORKLOAD_ACCOUNT}:role/administrator")

    def knows_an_image(self) -> None:
        """Has the id of an image."""
        self.tell(f"IMAGE={installed(self.cloud).image}")

    def knows_two_bakes(self) -> None:
        """Has the ids of the two latest images that were baked."""
        code, said = self.tell('mayfly bake base --why "to compare with" --watch')
        assert code == 0, said
        records = all_items(self.cloud, self.outputs["TableName"])
        baked = [one for one in records if one["pk"].startswith("bake#") and one.get("stage") == "proven"]
        before, image = [one["image"] for one in sorted(baked, key=lambda one: str(one["history"][0]["at"]))][-2:]
        self.tell(f"BEFORE={before} IMAGE={image}")
        code, said = self.tell('mayfly promote base stable "$BEFORE" --why "the first"')
        assert code == 0, said

    def edits_application(self) -> None:
        """One suite of one instance."""
        file = self.checkout / "applications" / "myapp.json"
        own = {"instance_count": 1, "suites": [{"name": "smoke"}]}
        file.write_text(json.dumps(json.loads(file.read_text()) | own))

    def edits_family(self) -> None:
        """Names what there is: the network, and checks that the stand-in for a machine passes."""
        parameter = self.cloud.client("ssm").get_parameter(Name="/mayfly/families/base")["Parameter"]
        (self.checkout / "families" / "base.json").write_text(parameter["Value"])

    def tests(self, application: str, version: str, **edited: Any) -> None:
        """Has the tests of a version begin as soon as they may, beside what else goes on, and pass."""
        configure(self.cloud, application, self.configuration(application) | edited)
        environment = environment_id(release_id(application, version, 1), "smoke")
        token = self.checkout / ".local" / "tokens" / environment

        def test() -> None:
            self.until(token.exists, f"{environment} is ready")
            detail = {"environment": environment, "outcome": "passed", "token": token.read_text()}
            self.say("Test Finished", detail)

        threading.Thread(target=test, daemon=True).start()

    def say(self, what: str, detail: Json) -> None:
        """Puts a request on the bus."""
        entry = {"Source": "mayfly.operator", "DetailType": what, "EventBusName": self.outputs["BusName"]}
        self.cloud.client("events").put_events(Entries=[entry | {"Detail": json.dumps(detail)}])

    def has_a_report(self) -> None:
        """Tests have left a report, and know where to."""
        (self.checkout / "junit.xml").write_text('<testsuite tests="1"><testcase name="buys"/></testsuite>')
        place = {"Bucket": self.outputs["ReportsBucket"], "Key": "tests/by-hand/junit.xml"}
        self.tell(f"MAYFLY_REPORT_URL='{self.cloud.client('s3').generate_presigned_url('put_object', Params=place)}'")

    def says_nonsense(self) -> None:
        """Somebody has put a message on the bus that cannot be followed."""
        self.nonsense += 1
        mark = f"v{self.nonsense} with blanks"
        self.say("Code Version Pushed", {"application": "webshop", "version": mark, "artifact": "s3://artifacts/1"})

        def kept() -> list[str]:
            records = all_items(self.cloud, self.outputs["TableName"])
            return [one["id"] for one in records if one["pk"].startswith("dead-letter#") and mark in one["reason"]]

        self.until(kept, f"the dead letter of {mark}")
        self.tell(f"LETTER={kept()[0]}")

    def has_two_versions(self) -> None:
        """The checkout is a clone in which versions are tagged."""
        git = "git -c user.name=ada -c user.email=ada@example.com"
        code, said = self.tell(f"git init -q && git add -A && {git} commit -q -m 1 && git tag v0.1.0 && git tag v0.2.0")
        assert code == 0, said


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is under version control or will be, with the tools that are there already."""
    folder = tmp_path_factory.mktemp("checkout") / "mayfly"
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    os.utime(folder / "requirements.txt", (0, 0))
    return folder


@pytest.fixture(scope="module")
def running(checkout: Path) -> Iterator[LocalCloud]:
    """The local cloud, as `make local` starts it, until it is told to end."""
    with (checkout / "make.log").open("w") as log:
        made = subprocess.Popen(["make", "local"], cwd=checkout, stdout=log, stderr=log, start_new_session=True)
        try:
            give_up = time.monotonic() + PATIENCE_SECONDS
            while not (checkout / ".local" / "environ").exists():
                assert made.poll() is None, (checkout / "make.log").read_text()
                assert time.monotonic() < give_up, (checkout / "make.log").read_text()
                time.sleep(0.2)
            yield LocalCloud.attach(checkout / ".local")
        finally:
            os.killpg(made.pid, signal.SIGTERM)
            made.wait(PATIENCE_SECONDS)


def test_every_command_is_run_by_somebody() -> None:
    pages = {str(page.relative_to(ROOT)) for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]}
    assert {page for page in pages if list(commands(page))} == set(PAGES)


@pytest.mark.timeout(2400)  # some 150 commands in one shell, one after the other: nine minutes beside two other workers
def test_every_command_of_the_documents_does_what_it_says(checkout: Path, running: LocalCloud) -> None:
    reader = Reader(checkout, running)
    wrong = []
    try:
        for command in (command for page in PAGES for command in commands(page)):
            if command.text.startswith(tuple(ELSEWHERE)):
                continue
            reader.before(command)
            wrong.append(reader.run(command))
    finally:
        reader.close()
    assert [one for one in wrong if one] == [], "\n\n".join(one for one in wrong if one)
