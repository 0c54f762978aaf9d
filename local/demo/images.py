"""The demo's second chapter: a new image is baked, proves itself and is promoted, and the next environments boot it."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from bench import costs
from local.cloud import REGION, LocalCloud
from local.demo.screen import wait
from local.facts import Facts
from local.install import ROOT
from local.records import read_record
from mayfly.contract.vocabulary import BakeStage, EnvironmentStage, Event, Outcome, Source
from mayfly.domain.identity import environment_id, release_id
from mayfly.domain.records import Bake, ChannelRecord, Environment, Family, Record

Json = dict[str, Any]

FAMILY = "base"
STAGES = (BakeStage.PLANNED, BakeStage.BUILDING, BakeStage.IMAGING, BakeStage.PROVEN)
PROOF = (EnvironmentStage.CREATING, EnvironmentStage.AWAITING_TESTS, EnvironmentStage.TERMINATED)


class Images:
    """What has happened to the family so far, for the screen."""

    def __init__(self, cloud: LocalCloud, outputs: dict[str, str], version: str) -> None:
        self.cloud, self.outputs = cloud, outputs
        self.facts = Facts(cloud, outputs["FactsBusName"])
        self.began = cloud.now()
        self.lines: list[tuple[datetime, str]] = []
        pushed = json.loads(json.loads((ROOT / "events" / "code_version_pushed.json").read_text())[0]["Detail"])
        self.pushed: Json = pushed | {"version": version, "artifact": f"s3://artifacts/{version}.tgz"}
        self.release = release_id(self.pushed["application"], version, 1)
        self.bake, self.proof = Bake(id=""), Environment(id="")
        self.channels = {each: ChannelRecord(id=f"{FAMILY}/{each}") for each in ("candidate", "stable")}
        self.booted: Counter[str] = Counter()

    @property
    def image(self) -> str:
        """The image that the bake made; nothing before."""
        return self.bake.image or ""

    def read[R: Record](self, kind: type[R], identity: str) -> R:
        """A record as it is now."""
        return read_record(self.cloud, self.outputs["TableName"], kind, identity)

    def look(self) -> None:
        """Reads the records. These looks are the demo's own.

        Raises:
            RuntimeError: the bake was rejected; says why.
        """
        if name := self.bake.id or self.read(Family, FAMILY).bake:
            self.bake, self.proof = self.read(Bake, name), self.read(Environment, f"{name}-proof")
        self.channels = {each: self.read(ChannelRecord, f"{FAMILY}/{each}") for each in self.channels}
        if self.bake.stage in (BakeStage.REJECTED, BakeStage.SUPERSEDED):
            raise RuntimeError(f"the bake was {self.bake.stage}: {self.bake.reason}")

    def say(self, text: str) -> None:
        """One line of the story."""
        self.lines.append((self.cloud.now(), text))

    def screen(self) -> Group:
        """The picture of the moment."""
        table = Table(expand=True, border_style="dim")
        for title, ratio in (("", 3), ("stage", 4), ("image", 5), ("how", 6)):
            table.add_column(title, ratio=ratio, no_wrap=True)
        proof = self.proof.stage or ""
        puppet = "Puppet on a builder"
        checks = "its checks, by Run Command"
        table.add_row("bake", _bar(STAGES, self.bake.stage or ""), self.image, puppet)
        table.add_row("proof", _bar(PROOF, proof), self.image if proof else "", checks)
        for name, record in self.channels.items():
            regions = ", ".join(sorted(record.regions))
            moved = record.image == self.image != ""
            table.add_row(name, Text("■ moved" if moved else "□", "green" if moved else ""), record.image, regions)
        runs = ", ".join(f"{count} on {image}" for image, count in self.booted.items())
        table.add_row("next release", runs and "ready", self.image if runs else "", runs)
        feed = "\n".join(
            f"[dim]+{(at - self.began).total_seconds():5.1f} s[/]  {text}" for at, text in self.lines[-10:]
        )
        title = f"{FAMILY}: a new image"
        return Group(table, Panel(Text.from_markup(feed), title=title, border_style="dim", title_align="left"))


def _bar(stages: tuple[str, ...], stage: str) -> Text:
    reached = stages.index(stage) + 1 if stage in stages else 0
    done = reached == len(stages)
    return Text.assemble(
        ("■" * reached, "green" if done else "yellow"), ("■" * (len(stages) - reached), "bright_black"), f" {stage}"
    )


def tell(console: Console, cloud: LocalCloud, outputs: dict[str, str], version: str) -> Images:
    """Bakes, proves, promotes, and pushes a version whose environments boot the new image."""
    story = Images(cloud, outputs, version)
    with Live(console=console, auto_refresh=False) as live:
        begin(live, story)
        wait(live, story, lambda: story.bake.builder is not None, "the builder's launch")
        story.say(f"builder {story.bake.builder} runs; its log goes to {story.bake.log}")
        wait(live, story, lambda: story.proof.stage is not None, "the image")
        story.say(f"[bold]{story.image}[/] is available, its builder is gone; an environment boots it to prove it")
        wait(live, story, lambda: story.bake.stage == BakeStage.PROVEN, "the proof")
        story.say(f"proven: {story.bake.reason}")
        wait(live, story, lambda: story.channels["candidate"].image == story.image, "the candidate")
        story.say("[bold]candidate[/] points to it by itself")
        promote(story)
        wait(live, story, lambda: story.channels["stable"].image == story.image, "the promotion")
        story.say(f"[bold]stable[/] points to it, in {', '.join(sorted(story.channels['stable'].regions))} at once")
        release(live, story)
        live.update(story.screen(), refresh=True)
    return story


def begin(live: Live, story: Images) -> None:
    """The schedule has asked for a bake in the night that the first chapter skipped."""
    wait(live, story, lambda: story.bake.stage is not None, "the nightly bake")
    story.say(f"asked for by the {story.bake.requested_by}, in the night that has passed")


def promote(story: Images) -> None:
    """A person wants everybody on the new image."""
    detail = {"family": FAMILY, "channel": "stable", "image": story.image}
    detail |= {"why": "it passed in development", "requested_by": "ada@example.com"}
    _say(story, Event.IMAGE_PROMOTION_REQUESTED, detail)
    story.say("a person promotes it: first it is copied to every Region, and the copies are checked")


def release(live: Live, story: Images) -> None:
    """The next version's environments boot the new image, and are ended by their tests."""
    _say(story, Event.CODE_VERSION_PUSHED, story.pushed)
    application = json.loads((ROOT / "applications" / f"{story.pushed['application']}.json").read_text())
    environments = [environment_id(story.release, suite["name"]) for suite in application["suites"]]
    story.say(f"{story.pushed['application']} {story.pushed['version']} is pushed: the next environments")

    def all_are(stage: str) -> Callable[[], bool]:
        return lambda: all(story.read(Environment, each).stage == stage for each in environments)

    wait(live, story, all_are(EnvironmentStage.AWAITING_TESTS), "readiness")
    story.booted = booted(story.cloud, environments)
    story.say(f"what EC2 says of them: {', '.join(f'{n} run {image}' for image, n in story.booted.items())}")
    for environment in environments:
        result = {"environment": environment, "outcome": Outcome.PASSED, "token": story.facts.token(environment)}
        _say(story, Event.TEST_FINISHED, result)
    wait(live, story, all_are(EnvironmentStage.TERMINATED), "termination")
    story.say("their tests passed, and they are gone")


def booted(cloud: LocalCloud, environments: list[str]) -> Counter[str]:
    """Running instances of some environments by image, as EC2 describes them."""
    filters = [
        {"Name": "tag:mayfly:environment", "Values": environments},
        {"Name": "instance-state-name", "Values": ["running"]},
    ]
    pages = (
        cloud.workload_client("ec2", region_name=REGION).get_paginator("describe_instances").paginate(Filters=filters)
    )
    return Counter(
        instance["ImageId"] for page in pages for group in page["Reservations"] for instance in group["Instances"]
    )


def _say(story: Images, what: str, detail: Json) -> None:
    entry = {
        "Source": Source.OPERATOR,
        "DetailType": what,
        "EventBusName": story.outputs["BusName"],
        "Detail": json.dumps(detail),
    }
    story.cloud.client("events").put_events(Entries=[entry])


def summarise(story: Images) -> Json:
    """The chapter's figures, as build/demo.json has them."""
    history = costs.history(story.cloud, story.outputs["BakeMachine"], story.bake.id)
    proof = costs.history(story.cloud, story.outputs["EnvironmentMachine"], f"{story.bake.id}-proof")
    return {
        "bake": story.bake.id,
        "image": story.image,
        "state_transitions": costs.state_transitions(history) + costs.state_transitions(proof),
        "channels": {name: dict(record.regions) for name, record in story.channels.items()},
        "booted_next": dict(story.booted),
    }
