"""A rollout as it happens: every instance of a service by zone, how far it is, and what its users notice.

with cloud.hurry(60):
    figures = tell(console, cloud, "mayfly-webshop-production", start, over)
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from local.client import Client
from local.cloud import LocalCloud
from local.demo.screen import wait

type Json = dict[str, Any]

PATIENCE_SECONDS = 300  # real
REQUESTS_PER_SECOND = 500
COLOURS = ("cyan", "green", "magenta", "yellow")  # of the launch template's versions, as they come up
SIGNS = {"healthy": "■", "initial": "▪", "unhealthy": "✗", "draining": "□", "unused": "·"}
WIDTH = 32  # characters of the progress bar
LINES = 9  # of the feed


class Story:
    """What is told about one service: who looks at it, and what has been seen."""

    def __init__(self, cloud: LocalCloud, stack: str, client: Client) -> None:
        self._cloud, self._client = cloud, client
        resource = cloud.workload_client("cloudformation").describe_stack_resources(StackName=stack)["StackResources"]
        found = {one.get("ResourceType"): one.get("PhysicalResourceId", "") for one in resource}
        self._name = found["AWS::AutoScaling::AutoScalingGroup"]
        self._targets = found["AWS::ElasticLoadBalancingV2::TargetGroup"]
        self._group: Json = {}
        self._refresh: Json = {}
        self._health: dict[str, str] = {}
        self._versions: list[str] = []
        self._lines: list[tuple[datetime, str]] = []
        self._told: set[str] = set()
        self.began = cloud.now()

    def say(self, text: str) -> None:
        """Put one more line into the feed."""
        self._lines.append((self._cloud.now(), text))

    def look(self) -> None:
        """See what is new."""
        autoscaling = self._cloud.workload_client("autoscaling")
        [self._group] = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[self._name])[
            "AutoScalingGroups"
        ]
        refreshes = autoscaling.describe_instance_refreshes(AutoScalingGroupName=self._name)["InstanceRefreshes"]
        self._refresh = refreshes[0] if refreshes else {}
        health = self._cloud.workload_client("elbv2").describe_target_health(TargetGroupArn=self._targets)
        self._health = {one["Target"]["Id"]: one["TargetHealth"]["State"] for one in health["TargetHealthDescriptions"]}
        for instance in self._group["Instances"]:
            version = instance["LaunchTemplate"]["Version"]
            if version not in self._versions:
                self._versions.append(version)
        self._tell_refresh()

    def _tell_refresh(self) -> None:
        refresh = self._refresh
        if not refresh or refresh["StartTime"] < self.began:
            return
        percent = refresh.get("PercentageComplete", 0)
        self._once(f"refresh {refresh['InstanceRefreshId']}", "Auto Scaling begins to replace instances")
        if refresh["Status"] == "InProgress":
            for checkpoint in refresh["Preferences"].get("CheckpointPercentages", [])[:-1]:
                if percent >= checkpoint:
                    self._once(f"{checkpoint}", f"checkpoint {checkpoint} %: [dim]it soaks, the alarms are watched[/]")
        reason = refresh.get("RollbackDetails", {}).get("RollbackReason")
        if reason:
            self._once("rollback", f"[red]back to the version before[/]: {reason}")
        if refresh["Status"] in ENDS:
            self._once(refresh["Status"], ENDS[refresh["Status"]])

    def _once(self, key: str, text: str) -> None:
        if key not in self._told:
            self._told.add(key)
            self.say(text)

    def screen(self) -> Group:
        """The picture of the moment."""
        feed = "\n".join(f"[dim]{_since(self.began, at):>9}[/]  {text}" for at, text in self._lines[-LINES:])
        panel = Panel(
            Text.from_markup(feed),
            title=self._group.get("AutoScalingGroupName", ""),
            title_align="left",
            border_style="dim",
        )
        return Group(self._fleet(), self._progress(), self._noticed(), panel)

    def _fleet(self) -> Table:
        table = Table(expand=True, border_style="dim")
        zones: dict[str, list[Json]] = {zone: [] for zone in sorted(self._group.get("AvailabilityZones", []))}
        for instance in sorted(self._group.get("Instances", []), key=lambda one: str(one["LaunchTemplate"]["Version"])):
            zones.setdefault(instance["AvailabilityZone"], []).append(instance)
        for zone in zones:
            table.add_column(zone, ratio=1)
        table.add_row(*(Text(" ").join(self._sign(one) for one in instances) for instances in zones.values()))
        return table

    def _sign(self, instance: Json) -> Text:
        colour = COLOURS[self._versions.index(instance["LaunchTemplate"]["Version"]) % len(COLOURS)]
        if instance["LifecycleState"] == "Pending":
            return Text("◌", colour)
        state = self._health.get(instance["InstanceId"], "unused")
        return Text(SIGNS[state], "red" if state == "unhealthy" else colour)

    def _progress(self) -> Text:
        refresh = self._refresh
        percent = int(refresh.get("PercentageComplete", 0)) if refresh else 0
        marks = {WIDTH * int(one) // 100 for one in refresh.get("Preferences", {}).get("CheckpointPercentages", [])}
        bar = Text("  ")
        for place in range(WIDTH):
            sign = "┃" if place in marks else "━"
            bar.append(sign, "green" if place < WIDTH * percent // 100 else "bright_black")
        bar.append(f" {percent:>3} %  {refresh.get('Status', 'no refresh yet')}   ")
        for number, version in enumerate(self._versions):
            bar.append("■ ", COLOURS[number % len(COLOURS)]).append(f"version {version}  ")
        return bar

    def _noticed(self) -> Table:
        counts = self._client.counts
        table = Table(expand=True, border_style="dim")
        answers = ", ".join(f"{version}: {count:,}" for version, count in sorted(counts.versions.items()))
        shown = {
            "requests": f"{counts.sent:,}",
            "answered by": answers,
            "errors": f"{counts.errors:,}",
            "after retries": f"{counts.failed:,}",
            "healthy now": str(sum(state == "healthy" for state in self._health.values())),
        }
        for title in shown:
            table.add_column(title, justify="left" if title == "answered by" else "right")
        table.add_row(*shown.values())
        return table

    def figures(self) -> Json:
        """What came of it."""
        counts = self._client.counts
        return {
            "requests": counts.sent,
            "errors": counts.errors,
            "failed_after_retries": counts.failed,
            "answers_by_version": dict(counts.versions),
            "fewest_healthy": self._cloud.balancers()[self._targets.split("/")[1]]["fewest_healthy"],
            "virtual_seconds": round((self._cloud.now() - self.began).total_seconds()),
            "status": self._refresh.get("Status"),
        }


ENDS = {
    "Successful": "[green]every instance is replaced[/]",
    "RollbackSuccessful": "[yellow]everything is as it was before[/]",
    "Failed": "[red]the refresh has failed[/]",
    "RollbackFailed": "[red]the way back has failed[/]",
    "Cancelled": "[yellow]the refresh was cancelled[/]",
}


def _since(began: datetime, then: datetime) -> str:
    seconds = max(0, round((then - began).total_seconds()))
    return f"+{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def tell(
    console: Console, cloud: LocalCloud, stack: str, start: Callable[[Story], None], over: Callable[[], bool]
) -> Json:
    """Tells the rollout that `start` causes until it is `over`, while a client uses the service; returns figures.

    Raises:
        TimeoutError: it is not over within PATIENCE_SECONDS.
    """
    target = cloud.workload_client("cloudformation").describe_stack_resource(
        StackName=stack, LogicalResourceId="TargetGroup"
    )["StackResourceDetail"]["PhysicalResourceId"]
    url = cloud.balancers()[target.split("/")[1]]["url"]
    cloud.watch_fewest()
    with Client(url, rate=REQUESTS_PER_SECOND) as client, Live(console=console, auto_refresh=False) as live:
        story = Story(cloud, stack, client)
        start(story)
        wait(live, story, over, f"the end of the rollout of {stack}", PATIENCE_SECONDS)
        story.look()
        live.update(story.screen(), refresh=True)
    return story.figures()
