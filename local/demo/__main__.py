"""`make demo`: the main job, live. One pushed version, whose tests start by themselves in environments of 45 instances
each, and nothing left at the end; then a new image, which the next version's environments boot, and a rollout.

Everything is real but the clouds: the SAM CLI deploys the template, the state machines and functions run, IAM is
enforced. The accounts are the local cloud's.
"""

import argparse
import json
import re
import signal
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bench import costs
from local import github, users
from local.cloud import LocalCloud
from local.demo import forge, images, rollouts
from local.demo.screen import wait
from local.install import ROOT, SIMULATED, Installation, configure, install
from local.records import read_record
from mayfly.contract.vocabulary import EnvironmentStage as Stage
from mayfly.contract.vocabulary import RolloutStage
from mayfly.domain.identity import environment_id, release_id
from mayfly.domain.records import Environment, Record, Release, Verdict, plain
from mayfly.domain.report import Report
from mayfly.prices import list_prices

Json = dict[str, Any]

STAGES = (
    Stage.PLANNED,
    Stage.CREATING,
    "ready",
    Stage.AWAITING_TESTS,
    Stage.TERMINATING,
    Stage.TERMINATED,
)
SHOWN: dict[str, str] = {
    Stage.CREATING: "building",
    Stage.AWAITING_TESTS: "testing",
    Stage.TERMINATED: "gone",
}
NEXT_VERSION = "1.5.0"


class Story:
    """What has happened so far and how things stand, for the screen."""

    def __init__(self, cloud: LocalCloud, installation: Installation, pushed: Json, hub: github.GitHub) -> None:
        self.cloud, self.outputs = cloud, installation.outputs
        self.release = release_id(pushed["application"], pushed["version"], pushed.get("attempt", 1))
        self.environments = {suite: environment_id(self.release, suite) for suite in forge.SUITES}
        self.began = cloud.now()
        self.lines: list[tuple[datetime, str]] = []
        self.records = {suite: Environment(id=name) for suite, name in self.environments.items()}
        self.fleet: dict[str, dict[str, int]] = {}
        self.verdict: Verdict | None = None
        self.hub, self.commit = hub, pushed["commit"]
        self.shown: list[str] = []

    def look(self) -> None:
        """Reads the records and counts the instances. These looks are the demo's own and in no figure."""
        self.fleet = self.cloud.fleet()
        for suite, environment in self.environments.items():
            before = self.stage(suite)
            self.records[suite] = self._record(Environment, environment)
            if (stage := self.stage(suite)) != before:
                self._tell(suite, stage)
        self.verdict = self._record(Release, self.release).verdict
        statuses = self.hub.statuses.get(self.commit, [])
        for status in statuses[len(self.shown) :]:
            self.say(f"GitHub shows at {self.commit[:7]}: [bold]{status['state']}[/], {status['description']}")
            self.shown.append(status["state"])

    @property
    def judged(self) -> Verdict:
        """Returns the verdict on the release of this demo, once Mayfly has announced one."""
        assert self.verdict
        return self.verdict

    def say(self, text: str) -> None:
        """One line of the story."""
        self.lines.append((self.cloud.now(), text))

    def stage(self, suite: str) -> str:
        """The stage of a suite's environment, or nothing while there is none."""
        return self.records[suite].stage or ""

    def _record[R: Record](self, kind: type[R], identity: str) -> R:
        return read_record(self.cloud, self.outputs["TableName"], kind, identity)

    def _tell(self, suite: str, stage: str) -> None:
        record = self.records[suite]
        built = record.instances_built or 0
        texts: dict[str, str] = {
            Stage.PLANNED: f"until {(record.deadline or '')[11:16]} UTC tomorrow at the latest",
            Stage.CREATING: "CloudFormation builds the stack",
            Stage.AWAITING_TESTS: f"all {built} instances signalled and run; the tests may begin",
            Stage.TERMINATING: record.ending.reason if record.ending else "",
            Stage.TERMINATED: "no stack and no instance is left, says EC2",
        }
        if text := texts.get(stage):
            self.say(f"[bold]{suite}[/] {text}")

    def screen(self) -> Group:
        """The picture of the moment."""
        table = Table(expand=True, border_style="dim")
        for title, ratio in (("suite", 3), ("life", 5), ("instances", 3), ("since push", 3), ("ended by", 4)):
            table.add_column(title, ratio=ratio, no_wrap=True)
        for suite, environment in self.environments.items():
            ending = self.records[suite].ending
            table.add_row(
                suite,
                _bar(self.stage(suite)),
                _instances(self.fleet.get(environment, {}), self.records[suite]),
                _since(self.began, self._last_change(suite)),
                f"{ending.by}: {ending.outcome}" if ending else "",
            )
        feed = "\n".join(f"[dim]{_since(self.began, at):>10}[/]  {text}" for at, text in self.lines[-16:])
        return Group(table, Panel(Text.from_markup(feed), title=self.release, border_style="dim", title_align="left"))

    def _last_change(self, suite: str) -> datetime:
        over = self.records[suite].terminated_at
        return datetime.fromisoformat(over) if over else self.cloud.now()


def _bar(stage: str) -> Text:
    reached = STAGES.index(stage) + 1 if stage in STAGES else 0
    style = "green" if stage == Stage.TERMINATED else "yellow"
    return Text.assemble(
        ("■" * reached, style), ("■" * (len(STAGES) - reached), "bright_black"), f" {SHOWN.get(stage, stage)}"
    )


def _instances(counts: dict[str, int], record: Environment) -> str:
    running, wanted = counts.get("running", 0), record.instance_count
    return (
        f"{running} of {wanted}" if wanted and record.stage != Stage.TERMINATED else f"{running} left" if wanted else ""
    )


def _since(began: datetime, then: datetime) -> str:
    seconds = max(0, round((then - began).total_seconds()))
    return f"+{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def tell(console: Console, cloud: LocalCloud, installation: Installation) -> Story:
    """Pushes the version, and lives through its release: nobody does anything else."""
    entries = json.loads((ROOT / "events" / "code_version_pushed.json").read_text())
    pushed = json.loads(entries[0]["Detail"]) | {"pull_request": forge.PULL_REQUEST}
    name, commit = pushed["application"], pushed["commit"]
    configuration = json.loads((ROOT / "applications" / f"{name}.json").read_text())
    configure(cloud, name, forge.configured(configuration, forge.connect(cloud)))
    with forge.repository(cloud, commit) as hub, Live(console=console, auto_refresh=False) as live:
        story = Story(cloud, installation, pushed, hub)
        story.say(f"[bold]{name} {pushed['version']}[/] is pushed, of pull request {forge.PULL_REQUEST}")
        cloud.client("events").put_events(Entries=[entries[0] | {"Detail": json.dumps(pushed)}])
        wait(live, story, lambda: story.verdict, "the verdict")
        for suite in story.judged.suites:
            counts = suite.tests or Report(0, 0, 0, ())
            story.say(f"{suite.suite}: a report of {counts.tests} tests, {counts.failures} failed")
        story.say(f"Release {'Passed' if story.judged.passed else 'Failed'}: {story.judged.reason}")
        wait(live, story, lambda: story.shown[-1:] != ["pending"], "the status of the commit")
        wait(live, story, lambda: story.stage(forge.PREVIEW) == Stage.AWAITING_TESTS, "the preview")
        story.say("nobody closes the pull request; [bold]the local cloud's clock moves on by 24 hours[/]")
        cloud.advance(24 * 3600)
        wait(
            live,
            story,
            lambda: all(story.stage(each) == Stage.TERMINATED for each in story.environments),
            "termination",
        )
        wait(live, story, lambda: f"| {forge.PREVIEW} " not in hub.said(forge.PULL_REQUEST), "the last comment")
        live.update(story.screen(), refresh=True)
    return story


def summarise(story: Story) -> Json:
    """The figures of the demo, as build/demo.json has them."""
    machine, table = story.outputs["EnvironmentMachine"], story.outputs["TableName"]
    lives = [costs.life(story.cloud, machine, table, name) for name in story.environments.values()]
    release = costs.history(story.cloud, story.outputs["ReleaseMachine"], story.release)
    return {
        "release": {
            "id": story.release,
            "passed": story.judged.passed,
            "reason": story.judged.reason,
            "suites": [plain(each) for each in story.judged.suites],
            "state_transitions": costs.state_transitions(release),
        },
        "environments": lives,
        "prices": {"as_of": list_prices().as_of, **list_prices().services},
    }


def show(console: Console, summary: Json, seconds: float) -> None:
    """The closing table."""
    table = Table(title="\nWhat each life took", title_justify="left", border_style="dim", expand=True)
    table.add_column("suite", no_wrap=True)
    table.add_column("ended by", no_wrap=True)
    for title in ("built", "left", "states", "functions", "calls", "cost"):
        table.add_column(title, justify="right", no_wrap=True)
    for life in summary["environments"]:
        figures = [life["instances_built"], life["instances_left"], life["state_transitions"]]
        figures += [life["lambda_invocations"], sum(life["workload_calls"].values())]
        table.add_row(life["suite"], life["ended_by"], *map(str, figures), f"${life['cost_usd']:.5f}")
    console.print(table)
    built = sum(life["instances_built"] for life in summary["environments"])
    left = sum(life["instances_left"] for life in summary["environments"])
    console.print(f"{built} instances built, {left} left. {seconds:.0f} s in all. Figures: build/demo.json")


def main() -> int:
    """Runs the demo; 0 when everything that was built is gone."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=Path, help="also write the last screen as SVG")
    parser.add_argument("--keep", action="store_true", help="keep everything up at the end, until Ctrl-C")
    arguments = parser.parse_args()
    console = Console(record=bool(arguments.picture), width=100 if arguments.picture else None)
    began = time.monotonic()
    with (
        console.status("local cloud: a controller account and a workload account") as status,
        LocalCloud(ROOT / ".local", forks=False) as cloud,
    ):

        def step(text: str) -> None:
            console.print(f"[dim]{time.monotonic() - began:5.1f} s[/]  {text}")
            status.update(text)

        step("local cloud is up")
        installation = install(cloud, step)
        step("installed")
        status.stop()
        console.print(f"{SIMULATED}\n")
        console.print(f"The console: {cloud.console_url}/  (sign in as operator, password {users.PASSWORD})\n")
        story = tell(console, cloud, installation)
        console.print()
        rollouts.declare(cloud)
        baked = images.tell(console, cloud, installation.outputs, NEXT_VERSION)
        console.print()
        rollout = rollouts.tell(console, cloud, installation.outputs)
        console.print()
        summary = summarise(story) | {"images": images.summarise(baked), "rollout": rollout}
        show(console, summary, time.monotonic() - began)
        if arguments.keep:
            console.print(f"Everything stays up, the console too: {cloud.console_url}/  Ctrl-C ends it.")
            with suppress(KeyboardInterrupt):
                signal.pause()
    target = ROOT / "build" / "demo.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(summary, indent=2) + "\n")
    if arguments.picture:
        # Without the web font that rich would have each reader's browser fetch.
        plain = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
        console.save_svg(str(arguments.picture), title="make demo", code_format=plain)
    nothing_left = not any(life["instances_left"] for life in summary["environments"])
    served = rollout["stage"] == RolloutStage.COMPLETED and not rollout["failed_after_retries"]
    return 0 if nothing_left and served and set(baked.booted) == {baked.image} else 1


if __name__ == "__main__":
    sys.exit(main())
