"""The commands. What they ask for goes on the bus as everybody's events do; what they show is read from the records.

Whatever is slow to import is imported by the command that needs it: help and completion are to be quick.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from mayfly_cli.errors import Failed, NotFound, explained

if TYPE_CHECKING:
    from mayfly.messages import Message
    from mayfly_cli.installation import Installation

type Json = dict[str, Any]
type Command = Callable[..., None]

EXIT_CODES = "Exit codes: 0 done, 1 refused or failed, 2 used wrongly, 3 not found, 4 no access, 5 timed out."
SHELLS = ("bash", "fish", "zsh")


class Commands(click.Group):
    """Tells people what AWS and Mayfly's own models object to."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            raise explained(error) from None


@click.group(cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mayfly")
def main() -> None:
    """Disposable AWS environments for pushed code versions.

    Uses the ordinary AWS credentials, and the installation whose stack is called `mayfly` or as --stack says.
    """


def command(function: Command) -> click.Command:
    """A command with the options that all have; it gets the installation first, and last whether JSON is wanted."""

    @wraps(function)
    def run(stack: str, profile: str | None, region: str | None, as_json: bool, **arguments: Any) -> None:
        from mayfly_cli.installation import find

        function(find(stack, profile, region), as_json=as_json, **arguments)

    for option in (
        click.option("--region", help="The installation's Region, where the environment names none or another."),
        click.option("--profile", help="Profile of the AWS configuration."),
        click.option("--stack", envvar="MAYFLY_STACK", default="mayfly", show_default=True, help="The installation."),
        click.option("--json", "as_json", is_flag=True, help="JSON on standard output; messages go to standard error."),
    ):
        run = option(run)
    return main.command(function.__name__.rstrip("_").replace("_", "-"), epilog=EXIT_CODES)(run)


def known(*kinds: Any) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Completes the names of what lives."""

    def complete(ctx: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        from mayfly_cli.installation import find

        try:
            options = ctx.params
            installation = find(options.get("stack") or "mayfly", options.get("profile"), options.get("region"))
            names = sorted(record["id"] for kind in kinds for record in installation.records(kind).live())
        except Exception:  # nobody wants to read of an error while typing
            return []
        return [CompletionItem(name) for name in names if name.startswith(begun)]

    return complete


why_option = click.option("--why", required=True, help="Stands in the history, for everybody.")
environment_argument = click.argument("environment", shell_complete=known("environment"))


def now() -> datetime:
    """The moment of this look."""
    return datetime.now(UTC)


def asked(
    installation: Installation, environment: str, what: str, message: Message, who: str, wait: bool
) -> tuple[Json, Json | None]:
    """Puts a request about an environment on the bus and waits until its history tells what came of it.

    Returns:
        the record as it is then, and the line of its history; None where nobody waited for it.

    Raises:
        Failed: it was refused; the line says why.
    """
    from mayfly_cli.installation import until

    before = len(installation.find("environment", environment).get("history", []))
    installation.say(what, message)

    def look() -> tuple[Json, Json] | None:
        record = installation.find("environment", environment)
        mine = (line for line in record["history"][before:] if line["what"] == what and line["who"] == who)
        return next(((record, line) for line in mine), None)

    if not wait:
        return installation.find("environment", environment), None
    record, line = until(look, f"{what} in the history of {environment}")
    if line["why"].startswith(("refused", "ignored")):
        raise Failed(f"{environment}: {line['why']}")
    return record, line


wait_option = click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it has been followed.")


# ---- releases and environments ----------------------------------------------------------------------------------


@command
@click.argument("application")
@click.argument("version")
@click.argument("artifact")
@click.option("--commit", help="What it was built from.")
@click.option("--attempt", default=1, show_default=True, help="Count up to test the same version again.")
@click.option("--watch/--no-watch", "watched", default=False, help="Follow the release; ends like `mayfly watch`.")
def push(
    installation: Installation,
    as_json: bool,
    application: str,
    version: str,
    artifact: str,
    commit: str | None,
    attempt: int,
    watched: bool,
) -> None:
    """Have VERSION of APPLICATION tested; ARTIFACT is where its deploy script fetches it."""
    from mayfly.aws import catalogue
    from mayfly.domain.identity import release_id
    from mayfly.messages import CodeVersionPushed
    from mayfly_cli import show
    from mayfly_cli.installation import note, until

    message = CodeVersionPushed(
        application=application,
        version=version,
        artifact=artifact,
        commit=commit,
        attempt=attempt,
        pushed_by=installation.who,
    )
    catalogue.application(installation.here.parameters, application)
    release = release_id(application, version, attempt)
    if installation.records("release").get(release):
        raise Failed(f"{release}: this version was pushed already. To test it again: --attempt {attempt + 1}.")
    installation.say("Code Version Pushed", message)
    until(lambda: installation.records("release").get(release), f"the record of the release {release}")
    if watched:
        note(f"{release} was accepted")
        end_of(installation, release, as_json, None)
        return
    show.answer(as_json, {"accepted": True, "release": release})
    if not as_json:
        click.echo(f"{release} was accepted. To follow it: mayfly watch {release}")


@command
@click.option("--application", help="Only of this one.")
@click.option("--release", help="Only of this one.")
@click.option("--days", type=click.IntRange(0, 31), help="Ended ones too that began in the last so many days.")
def list_(
    installation: Installation, as_json: bool, application: str | None, release: str | None, days: int | None
) -> None:
    """List environments: those that live, the one that ends first on top."""
    from mayfly.domain.moment import text
    from mayfly_cli import show

    at = now()
    wanted = {"application": application, "release": release}
    shown = [
        show.environment(record, at)
        for record in remembered(installation, at, days)
        if all(value in (None, record.get(key)) for key, value in wanted.items())
    ]
    shown.sort(key=lambda each: ("ended_at" in each, each.get("deadline", ""), each["id"]))
    show.answer(as_json, {"now": text(at), "environments": shown}, show.environments(shown, at))


def remembered(installation: Installation, at: datetime, days: int | None) -> list[Json]:
    """The records of environments that live, and of those that began in the last `days` days."""
    records = installation.records("environment")
    found = {record["id"]: record for record in records.live()}
    if days is not None:
        found |= {record["id"]: record for record in records.recent(at, days)}
    return list(found.values())


@command
@click.argument("name", shell_complete=known("release", "rollout"))
@click.option("--timeout", type=click.IntRange(0), help="Minutes after which to give up; never where it is left out.")
def watch(installation: Installation, as_json: bool, name: str, timeout: int | None) -> None:
    """Follow a release, an environment, a bake or a rollout to its end.

    Exits with 0 where its tests passed, the image was proven or the rollout completed, and with 1 where not.
    """
    end_of(installation, name, as_json, timeout)


def end_of(installation: Installation, name: str, as_json: bool, timeout: int | None) -> None:
    """Follows it, prints how it ended, and ends this command the same way."""
    from mayfly_cli import show, watching

    watched = watching.begin(installation, name)
    record = watching.follow(watched, now, None if timeout is None else timeout * 60)
    passed = watching.went_well(watched.kind, record)
    said = watching.summary(watched.kind, record)
    parts = [show.environment(part, now()) for part in watched.parts(record)]
    shown = {"id": name, "kind": watched.kind, "passed": passed, "reason": said, "environments": parts}
    show.answer(as_json, shown | ({"rollout": show.rollout(record)} if watched.kind == "rollout" else {}))
    if not as_json:
        click.echo(f"{name} {said}")
    raise SystemExit(0 if passed else 1)


@command
@environment_argument
@click.argument("minutes", type=int)
@why_option
@wait_option
def extend(installation: Installation, as_json: bool, environment: str, minutes: int, why: str, wait: bool) -> None:
    """Let ENVIRONMENT live MINUTES longer, up to its ceiling."""
    from mayfly.messages import EnvironmentExtensionRequested
    from mayfly_cli import show

    who = installation.who
    message = EnvironmentExtensionRequested(environment=environment, minutes=minutes, why=why, requested_by=who)
    record, line = asked(installation, environment, "Environment Extension Requested", message, who, wait)
    show.answer(as_json, {"accepted": True, "environment": show.environment(record, now())})
    if not as_json:
        click.echo(f"{environment} ends at {record['deadline']}" if line else "asked for")


@command
@environment_argument
@why_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@wait_option
def end(installation: Installation, as_json: bool, environment: str, why: str, yes: bool, wait: bool) -> None:
    """End ENVIRONMENT now, with all that is in it."""
    from mayfly.messages import EnvironmentTerminationRequested
    from mayfly_cli import show

    who = installation.who
    message = EnvironmentTerminationRequested(environment=environment, why=why, requested_by=who)
    record = installation.find("environment", environment)
    if ending := record.get("ending"):
        raise Failed(f"{environment} was ended already by {ending['by']}: {ending['reason']}")
    lost = f"{record.get('instances_built', 0)} instances of {record.get('application')} {record.get('version')}"
    if not yes and not click.confirm(f"End {environment}: {lost}, suite {record.get('suite')}?", err=True):
        raise Failed("Nothing was ended.")
    record, line = asked(installation, environment, "Environment Termination Requested", message, who, wait)
    show.answer(as_json, {"accepted": True, "environment": show.environment(record, now())})
    if not as_json:
        click.echo(f"{environment} is being ended" if line else "asked for")


@command
@environment_argument
@click.argument("outcome", type=click.Choice(["passed", "failed"]))
@click.option("--reason", help="Why; stands in the verdict.")
@click.option("--report", help="Where the report is.")
@wait_option
def result(
    installation: Installation,
    as_json: bool,
    environment: str,
    outcome: Any,
    reason: str | None,
    report: str | None,
    wait: bool,
) -> None:
    """Say how the tests in ENVIRONMENT went: the end of a manual suite."""
    from mayfly.messages import TestFinished
    from mayfly_cli import show

    who = installation.who
    message = TestFinished(environment=environment, outcome=outcome, reason=reason, report=report, finished_by=who)
    record, line = asked(installation, environment, "Test Finished", message, who, wait)
    show.answer(as_json, {"accepted": True, "environment": show.environment(record, now())})
    if not as_json:
        click.echo(f"{environment} {outcome}, and is being ended" if line else "asked for")


# ---- images -----------------------------------------------------------------------------------------------------


@command
@click.argument("family", required=False)
def images(installation: Installation, as_json: bool, family: str | None) -> None:
    """Show where channels point, and the bakes of the last 7 days."""
    from mayfly.aws import channels
    from mayfly.domain.moment import text
    from mayfly_cli import show

    at = now()
    pointing: list[Json] = [
        {
            "family": each.family,
            "channel": each.name,
            "image": each.image or None,
            "regions": dict(each.current.regions) if each.current else {},
            "moved_at": each.moved_at or None,
            "previous": [one.image for one in each.previous],
        }
        for each in channels.every(installation.here.table)
        if family in (None, each.family)
    ]
    kept = ("id", "family", "stage", "why", "requested_by", "reason", "image")
    bakes = [
        {key: record[key] for key in kept if key in record} | {"at": record["history"][0]["at"]}
        for record in installation.records("bake").recent(at, 7)
        if family in (None, record["family"])
    ]
    bakes.sort(key=lambda each: each["at"], reverse=True)
    show.answer(
        as_json,
        {"now": text(at), "channels": pointing, "bakes": bakes},
        show.table(
            "Channels",
            ("family", "channel", "image", "moved", "before"),
            [(c["family"], c["channel"], c["image"], c["moved_at"], ", ".join(c["previous"])) for c in pointing],
        ),
        show.table(
            "\nBakes",
            ("bake", "stage", "at", "image", "why"),
            [(b["id"], b["stage"], b["at"], b.get("image"), b.get("reason") or b["why"]) for b in bakes],
        ),
    )


@command
@click.argument("family")
@why_option
def bake(installation: Installation, as_json: bool, family: str, why: str) -> None:
    """Have a new image of FAMILY baked and proven."""
    from mayfly.aws import catalogue
    from mayfly.domain.bake import bake_id
    from mayfly.messages import ImageBakeRequested
    from mayfly_cli import show
    from mayfly_cli.installation import until

    message = ImageBakeRequested(family=family, why=why, requested_by=installation.who)
    catalogue.family(installation.here.parameters, family)
    name = bake_id(family, installation.say("Image Bake Requested", message))
    until(lambda: installation.records("bake").get(name), f"the record of the bake {name}")
    show.answer(as_json, {"accepted": True, "bake": name})
    if not as_json:
        click.echo(f"{name} was accepted. To follow it: mayfly watch {name}")


@command
@click.argument("family")
@click.argument("channel")
@click.argument("image")
@why_option
def promote(installation: Installation, as_json: bool, family: str, channel: str, image: str, why: str) -> None:
    """Point CHANNEL of FAMILY to IMAGE, as its family's own Region calls it."""
    from mayfly.messages import ImagePromotionRequested

    message = ImagePromotionRequested(
        family=family, channel=channel, image=image, why=why, requested_by=installation.who
    )
    move(installation, as_json, family, channel, "Image Promotion Requested", message)


@command
@click.argument("family")
@click.argument("channel")
@click.option("--image", help="The image to get away from: said twice, this goes back once.")
@why_option
def rollback(installation: Installation, as_json: bool, family: str, channel: str, image: str | None, why: str) -> None:
    """Point CHANNEL of FAMILY back to the image before."""
    from mayfly.messages import ImageRollbackRequested

    message = ImageRollbackRequested(
        family=family, channel=channel, image=image, why=why, requested_by=installation.who
    )
    move(installation, as_json, family, channel, "Image Rollback Requested", message)


def move(installation: Installation, as_json: bool, family: str, channel: str, what: str, message: Message) -> None:
    """Asks for a channel's move and waits for it: its execution is named by the event."""
    from mayfly.aws import catalogue, channels
    from mayfly.aws.clients import controller
    from mayfly.domain.channel import move_id
    from mayfly_cli import show
    from mayfly_cli.installation import until

    catalogue.family(installation.here.parameters, family)
    states = controller("stepfunctions")
    name = move_id(family, channel, installation.say(what, message))
    arn = f"{installation.here.promotion_machine.replace(':stateMachine:', ':execution:')}:{name}"

    def look() -> Json | None:
        try:
            found: Json = states.describe_execution(executionArn=arn)
        except states.exceptions.ExecutionDoesNotExist:
            return None
        return found if found["status"] != "RUNNING" else None

    # Copying an image to other Regions takes its time.
    execution = until(look, f"the end of {name}", patience=30 * 60)
    if execution["status"] != "SUCCEEDED":
        raise Failed(f"{channel} of {family} was not moved: {execution.get('cause') or execution['status']}")
    moved = channels.read(installation.here.table, family, channel)
    show.answer(as_json, {"accepted": True, "family": family, "channel": channel, "image": moved.image, "move": name})
    if not as_json:
        click.echo(f"{channel} of {family} points to {moved.image}")


# ---- permanent environments -------------------------------------------------------------------------------------


@command
@click.argument("service", required=False, shell_complete=known("service"))
def services(installation: Installation, as_json: bool, service: str | None) -> None:
    """Show permanent environments, and their rollouts of the last 30 days."""
    from mayfly.domain.moment import text
    from mayfly_cli import show

    at, rollouts = now(), installation.records("rollout")
    found = [installation.find("service", service)] if service else list(installation.records("service").live())
    standing = [show.service(record) for record in sorted(found, key=lambda each: str(each["id"]))]
    begun = {record["id"]: record for record in (*rollouts.recent(at, 30), *rollouts.live())}
    newest = sorted(begun.values(), key=lambda each: str(each["planned_at"]), reverse=True)
    shown = [show.rollout(each) for each in newest if service in (None, each["service"])]
    show.answer(
        as_json,
        {"now": text(at), "services": standing, "rollouts": shown},
        show.services(standing, at),
        show.rollouts(shown),
    )


@command
@click.argument("rollout", shell_complete=known("rollout"))
@why_option
def approve(installation: Installation, as_json: bool, rollout: str, why: str) -> None:
    """Let ROLLOUT begin that waits for a person, or have one tried again that went badly."""
    from mayfly.messages import RolloutApproved

    message = RolloutApproved(rollout=rollout, why=why, approved_by=installation.who)
    record = installation.find("rollout", rollout)
    if record["stage"] not in ("awaiting approval", "awaiting kill switch", "rolled back", "failed"):
        raise Failed(
            f"{rollout} is {record['stage']}: nobody has to approve it. "
            f"What waits for something else is started by: mayfly roll-out {record['service']}"
        )
    decided(installation, as_json, record["service"], "Rollout Approved", message, "approved")


@command
@click.argument("service", shell_complete=known("service"))
@click.option("--back", is_flag=True, help="One step back: to exactly what it had before.")
@why_option
def roll_out(installation: Installation, as_json: bool, service: str, back: bool, why: str) -> None:
    """Roll SERVICE out now: to what is wanted of it, or to new instances of the same.

    Waits for no approval, window or alarm that fires already; only for the kill switch.
    """
    from mayfly.messages import RolloutRequested

    to: Any = "previous" if back else "latest"
    message = RolloutRequested(service=service, to=to, why=why, requested_by=installation.who)
    decided(installation, as_json, service, "Rollout Requested", message, f"asked for {to}")


def decided(installation: Installation, as_json: bool, service: str, what: str, message: Message, noted: str) -> None:
    """Puts a request about a service on the bus, waits until its history tells what was decided, and prints that.

    Args:
        noted: what the history calls the request.

    Raises:
        Failed: there is nothing to roll out; the history says why.
    """
    from mayfly_cli import show
    from mayfly_cli.installation import until

    who, before = installation.who, len(installation.find("service", service).get("history", []))
    installation.say(what, message)

    def look() -> tuple[str, str] | None:
        record = installation.find("service", service)
        lines = iter(record.get("history", [])[before:])
        if not any((line["who"], line["what"]) == (who, noted) for line in lines):
            return None
        after = (line for line in lines if line["who"] == "plan" and line["what"] != "release passed")
        return next(((line["what"], line["why"]) for line in after), None) or unchanged(record)

    stage, said = until(look, f"what was decided about {service}, in its history")
    if stage == "not wanted any more":
        raise Failed(f"{service}: {said}")
    rollout, _, reason = said.partition(": ")
    stage = "running" if stage == "rollout started" else stage
    show.answer(as_json, {"accepted": True, "service": service, "rollout": rollout, "stage": stage, "why": reason})
    if not as_json:
        click.echo(f"{rollout} is {stage}: {reason}\nTo follow it: mayfly watch {rollout}")


def unchanged(record: Json) -> tuple[str, str] | None:
    """Where a request waits without a line of its own: for the rollout that runs, or with what waits already."""
    if running := record.get("rollout"):
        return "running", f"{running}: what was asked for follows it"
    pending = record.get("pending") or {}
    if pending.get("stage") == "awaiting kill switch":
        return pending["stage"], f"{pending['id']}: nothing begins while it is on"
    return None


# ---- operations -------------------------------------------------------------------------------------------------


@command
@click.option("--dry-run", is_flag=True, help="Only say what it would do.")
@click.option("--at-most", type=click.IntRange(0, 5000), default=0, help="Terminations to let through above the caps.")
@why_option
def sweep(installation: Installation, as_json: bool, dry_run: bool, at_most: int, why: str) -> None:
    """Have a sweep run now, and show its report."""
    from mayfly.messages import SweepRequested
    from mayfly_cli import reports, show
    from mayfly_cli.installation import until

    who = installation.who
    message = SweepRequested(dry_run=dry_run, at_most=at_most, why=why, requested_by=who)
    bucket = installation.here.reports
    before = reports.keys(bucket, now())
    installation.say("Sweep Requested", message)
    report = until(lambda: reports.fresh(bucket, now(), before, who), "the sweep's report", patience=300)
    rows = [(each["environment"], each["action"], each["reason"]) for each in report["decisions"]]
    counts = ", ".join(f"{count} {action}" for action, count in report["counts"].items() if count) or "nothing"
    title = f"{'What it would do' if dry_run else 'What it did'}: {counts}"
    title += f". It was halted: {report['halted']}" if report["halted"] else ""
    show.answer(as_json, report, show.table(title, ("environment", "action", "reason"), rows))


@command
@click.argument("on", type=click.Choice(["on", "off"]), required=False)
@click.option("--why", help="Needed to turn it.")
def kill_switch(installation: Installation, as_json: bool, on: str | None, why: str | None) -> None:
    """Show the kill switch, or turn it: while it is on, nothing is destroyed."""
    from mayfly.aws import switch
    from mayfly.messages import KillSwitchSet
    from mayfly_cli import show
    from mayfly_cli.installation import until

    def said() -> str:
        return switch.read(installation.here.parameters)

    if on:
        if not why:
            raise click.UsageError("--why is needed to turn the kill switch.")
        message = KillSwitchSet(on=on == "on", why=why, set_by=installation.who)
        installation.say("Kill Switch Set", message)
        until(lambda: (said() != switch.OFF) == message.on or None, f"the kill switch is {on}")
    state = said()
    shown = {"on": state != switch.OFF, "why": None if state == switch.OFF else state}
    show.answer(as_json, shown)
    if not as_json:
        click.echo(f"on: {state}" if shown["on"] else "off")


@command
@click.option("--days", type=click.IntRange(0, 31), default=7, show_default=True, help="Of environments begun since.")
@click.option("--application", help="Only of this one.")
def costs(installation: Installation, as_json: bool, days: int, application: str | None) -> None:
    """Say what environments cost, at list prices: instances and their volumes."""
    from mayfly.domain.cost import by_application, list_prices
    from mayfly.domain.moment import text
    from mayfly_cli import show

    at, prices = now(), list_prices()
    records = [
        record for record in remembered(installation, at, days) if application in (None, record.get("application"))
    ]
    bill = by_application(records, at, prices)
    whose = {"as_of": prices.as_of, "source": prices.source, "currency": prices.currency}
    show.answer(as_json, {"now": text(at), "prices": whose, **bill}, show.bill(bill, days, prices.as_of))


@command
@click.option("--role", help="A role in each workload account that you may assume, to look at what is there.")
def doctor(installation: Installation, as_json: bool, role: str | None) -> None:
    """Examine the installation, and say what is wrong and what to do.

    Exits with 1 where a check failed; warnings are none.
    """
    from mayfly.domain.moment import text
    from mayfly_cli import doctor as examination
    from mayfly_cli import show

    at = now()
    findings = examination.examine(installation, at, role)
    failed = any(finding.state == "failure" for finding in findings)
    rows = [(each.state, each.check, each.said, each.todo) for each in findings]
    show.answer(
        as_json,
        {"now": text(at), "ok": not failed, "checks": [each.as_json() for each in findings]},
        show.table(f"Mayfly {installation.stack}", ("", "check", "what was found", "what to do"), rows),
    )
    raise SystemExit(1 if failed else 0)


@main.command(epilog=EXIT_CODES)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the completion script of a shell, such as: eval "$(mayfly completion bash)"."""
    kind = get_completion_class(shell)
    if kind is None:
        raise NotFound(f"There is no completion for {shell}.")
    click.echo(kind(main, {}, "mayfly", "_MAYFLY_COMPLETE").source())
