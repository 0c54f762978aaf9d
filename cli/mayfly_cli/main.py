"""The commands. What they ask for goes on the bus as everybody's events do; what they show is read from the records.

Whatever is slow to import is imported by the command that needs it: help and completion are to be quick.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from mayfly.contract.vocabulary import UNKNOWN, DeadLetterKind, Event, RecordKind, RolloutStage, SuiteKind, TestResult
from mayfly.domain.timestamp import utc_text
from mayfly_cli import blueprinting, configuring
from mayfly_cli.errors import Failed, NotFound, explained

if TYPE_CHECKING:
    from mayfly.contract.messages import Request
    from mayfly.contract.requests import (
        DeadLettersDiscardRequested,
        DeadLettersRedriveRequested,
        EnvironmentSleepRequested,
        EnvironmentWakeRequested,
        ImagePromotionRequested,
        ImageRollbackRequested,
    )
    from mayfly.domain.records import Entry, Record, Rollout, Service
    from mayfly_cli.installation import Installation

type Json = dict[str, Any]
type DeadLetterRequest = DeadLettersRedriveRequested | DeadLettersDiscardRequested
type Command = Callable[..., None]

EXIT_CODES = "Exit codes: 0 done, 1 refused or failed, 2 used wrongly, 3 not found, 4 no access, 5 not yet."
INTERRUPTED = 130
"""How a shell knows that somebody pressed Ctrl-C."""
_APPROVABLE = (
    *(RolloutStage.AWAITING_APPROVAL, RolloutStage.AWAITING_KILL_SWITCH),
    *(RolloutStage.ROLLED_BACK, RolloutStage.FAILED),
)
SHELLS = ("bash", "fish", "zsh")


class Duration(click.ParamType):
    """Minutes, as a number or as people write durations."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int) or value.lstrip("-").isdigit():
            return int(value)
        parts = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?:in)?)?", value)
        if not value or parts is None:
            self.fail(f"expected minutes, or a duration such as 90m, 2h, 1d or 1h30m, but it is {value!r}", param, ctx)
        days, hours, minutes = (int(part or 0) for part in parts.groups())
        return (days * 24 + hours) * 60 + minutes


class Moment(click.ParamType):
    """A timestamp, as a day, a time or a duration before now."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if re.fullmatch(r"\d+[dhm].*", value):
            return utc_text(now() - timedelta(minutes=Duration().convert(value, param, ctx)))
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"expected a day, a time, or a duration such as 12h or 30d, but it is {value!r}", param, ctx)
        return utc_text(at if at.tzinfo else at.replace(tzinfo=UTC))


class Commands(click.Group):
    """Tells people what AWS and Mayfly's own models object to."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("Stopped looking. What was asked for goes on.", err=True)
            raise click.exceptions.Exit(INTERRUPTED) from None
        except Exception as error:
            raise explained(error) from None


def where(decorated: Any, **own: Any) -> Any:
    """Returns the options that say which installation is meant: of `mayfly` itself and, to overrule those, of each
    command."""
    for option in (
        click.option("--region", help="The installation's Region, where the environment names none or another."),
        click.option("--profile", help="Profile of the AWS configuration."),
        click.option("--stack", help="The installation.", **own),
    ):
        decorated = option(decorated)
    return decorated


def meant(ctx: click.Context) -> tuple[str, str | None, str | None]:
    """Stack, profile and Region: as the command says, or else as `mayfly` was told before it."""
    before = ctx.find_root().params
    stack, profile, region = (ctx.params.get(name) or before.get(name) for name in ("stack", "profile", "region"))
    return stack or "mayfly", profile, region


@click.group(cls=Commands, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@partial(where, envvar="MAYFLY_STACK", default="mayfly", show_default=True)
@click.version_option(package_name="mayfly")
def main(stack: str, profile: str | None, region: str | None) -> None:
    """Disposable AWS environments for pushed code versions.

    Uses the ordinary AWS credentials, and the installation whose stack is called `mayfly` or as --stack says.
    """


def command(function: Command, group: click.Group = main, text: str | None = None) -> click.Command:
    """Returns a command with the options that all have; it gets the installation first, and last whether JSON is
    wanted."""

    @wraps(function)
    def run(stack: str | None, profile: str | None, region: str | None, as_json: bool, **arguments: Any) -> None:
        from mayfly_cli.installation import find

        function(find(*meant(click.get_current_context())), as_json=as_json, **arguments)

    run = where(run)
    run = click.option(
        "--json", "as_json", is_flag=True, help="JSON on standard output; messages go to standard error."
    )(run)
    name = function.__name__.rstrip("_").replace("_", "-").removesuffix(f"-{group.name}")
    return group.command(name, epilog=EXIT_CODES, help=text)(run)


configuring.add(main, command)


def known(*kinds: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Completes the names of what lives."""

    def complete(ctx: click.Context, parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        from mayfly.domain.records import KINDS
        from mayfly_cli.installation import find

        try:
            installation = find(*meant(ctx))
            living = (installation.records(KINDS[RecordKind(kind)]).live() for kind in kinds)
            names = sorted(record.id for records in living for record in records)
        except Exception:  # nobody wants to read of an error while typing
            return []
        return [CompletionItem(name) for name in names if name.startswith(begun)]

    return complete


why_option = click.option("--why", required=True, help="Stands in the history, for everybody.")
environment_argument = click.argument("environment", shell_complete=known("environment"))


def now() -> datetime:
    """Returns the time of this look."""
    return datetime.now(UTC)


def since(record: Record, before: int) -> Sequence[Entry]:
    """Returns the lines of a history since it had so many."""
    return record.history[max(0, before - record.folded) :]


def is_of(said: str, who: str) -> bool:
    """Tells whether a record speaks of what somebody asked for: behind a name that nobody has verified stands which
    source says it."""
    name, says, _ = said.partition(" (says ")
    return who.startswith(name) if says else said == who


def asked[R: Record](
    installation: Installation, known: R, message: Request, wait: bool = True
) -> tuple[R, Entry | None]:
    """Puts a request about an environment (or a rollout) on the bus and waits until its history tells what came of it.

    Args:
        known: its record.

    Returns:
        the record as it is then, and the line of its history; None where nobody waited for it.

    Raises:
        Failed: it was refused; the line says why.
    """
    from mayfly.contract.requests import TestFinished
    from mayfly.domain.records import Environment
    from mayfly_cli.installation import until

    application = None
    if isinstance(known, Environment) and known.application != UNKNOWN:
        # A manual suite is passed by a person; else whoever may speak for the application may say this.
        passed = isinstance(message, TestFinished) and message.outcome == TestResult.PASSED
        application = None if passed and known.suite_kind == SuiteKind.MANUAL else known.application
    installation.say(message, application)

    def look() -> tuple[R, Entry] | None:
        record = installation.find(type(known), known.id)
        lines = (line for line in since(record, known.lines) if line.what == message.event)
        return next(((record, line) for line in lines if is_of(line.who, installation.who)), None)

    if not wait:
        return installation.find(type(known), known.id), None
    record, line = until(look, f"{message.event} in the history of {known.id}")
    if line.why.startswith(("refused", "ignored")):
        raise Failed(f"{known.id}: {line.why}")
    return record, line


def heed_kill_switch(installation: Installation, environment: str) -> None:
    """Says that what was asked for has to wait for the kill switch, where it does.

    Raises:
        NotYet: the kill switch is on.
    """
    from mayfly_cli.errors import NotYet

    switch = installation.reading(now()).kill_switch()
    if switch["on"]:
        raise NotYet(
            f"{environment} is to be ended, but the kill switch is on: {switch['why']}. It ends within 5 minutes after "
            "that is off: mayfly kill-switch off --why ..."
        )


wait_option = click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until it has been followed.")


# ---- releases and environments ----------------------------------------------------------------------------------


@command
@click.argument("application")
@click.argument("version")
@click.argument("artifact")
@click.option("--commit", help="What it was built from.")
@click.option("--pull-request", type=click.IntRange(1), help="The pull request (of GitLab, merge request) it is of.")
@click.option("--branch", help="The branch it is of: a newer version of it may supersede this one.")
@click.option("--hotfix", is_flag=True, help="Go before all others that wait, if the application is allowed that.")
@click.option("--attempt", default=1, show_default=True, help="Count up to test the same version again.")
@click.option("--watch/--no-watch", "watched", default=False, help="Follow the release; ends like `mayfly watch`.")
def push(
    installation: Installation,
    as_json: bool,
    application: str,
    version: str,
    artifact: str,
    commit: str | None,
    pull_request: int | None,
    branch: str | None,
    hotfix: bool,
    attempt: int,
    watched: bool,
) -> None:
    """Have VERSION of APPLICATION tested; ARTIFACT is where its deploy script fetches it."""
    from mayfly.contract.requests import CodeVersionPushed
    from mayfly.domain.identity import release_id
    from mayfly.domain.records import Release
    from mayfly_cli import doctor, show
    from mayfly_cli.installation import note, until

    message = CodeVersionPushed(
        application=application,
        version=version,
        artifact=artifact,
        commit=commit,
        pull_request=pull_request,
        branch=branch,
        hotfix=hotfix,
        attempt=attempt,
        pushed_by=installation.who,
    )
    # A version that cannot be planned would be used up by its failed release.
    doctor.planned(installation, installation.application(application))
    release = release_id(application, version, attempt)
    if installation.records(Release).get(release):
        raise Failed(f"{release}: this version was pushed already. To test it again: --attempt {attempt + 1}.")
    installation.say(message, application)
    until(lambda: installation.records(Release).get(release), f"the record of the release {release}")
    if watched:
        note(f"{release} was accepted")
        end_of(installation, release, as_json, None)
        return
    show.answer(as_json, {"accepted": True, "release": release})
    if not as_json:
        click.echo(f"{release} was accepted. To follow it: mayfly watch {release}")


@command
@click.argument("application")
@click.argument("number", type=click.IntRange(1))
@click.option("--why", help="Merged, or closed.")
def close(installation: Installation, as_json: bool, application: str, number: int, why: str | None) -> None:
    """End the preview of pull request NUMBER of APPLICATION, and its address."""
    from mayfly.contract.requests import PullRequestClosed
    from mayfly.domain.records import PullRequest
    from mayfly_cli import show
    from mayfly_cli.installation import until

    name = f"{application}#{number}"
    before = installation.find(PullRequest, name)
    message = PullRequestClosed(application=application, pull_request=number, why=why, closed_by=installation.who)
    installation.say(message, application)

    def look() -> PullRequest | None:
        found = installation.find(PullRequest, name)
        return found if found.closed_at > before.closed_at else None

    closed = until(look, f"{message.event} in the history of {name}")
    show.answer(as_json, {"pull_request": name, "ended": [*closed.previews]})
    if not as_json:
        click.echo(f"{name} is closed; being ended: {', '.join(closed.previews) or 'nothing'}")


@command
@click.option("--application", help="Only of this one.")
@click.option("--release", help="Only of this one.")
@click.option("--stage", help="Only at this one, as the list says it.")
@click.option("--owner", help="Only of this one.")
@click.option("--days", type=click.IntRange(0, 366), help="Then those too that ended in the last so many days.")
@click.option("--after", default="", help="Where the page before ended, as that said.")
@click.option("--all", "every", is_flag=True, help="Every page; without it, a hundred environments.")
def list_(
    installation: Installation,
    as_json: bool,
    application: str | None,
    release: str | None,
    stage: str | None,
    owner: str | None,
    days: int | None,
    after: str,
    every: bool,
) -> None:
    """List environments, the latest first in pages: those that live, the one of a page that ends first on top."""
    from mayfly.workflows.reading import Wanted
    from mayfly_cli import show
    from mayfly_cli.looking import page_of

    at = now()
    wanted = Wanted(application=application, release=release, stage=stage, owner=owner)
    found = page_of(installation.reading(at), wanted, days, after)
    while every and "next" in found:
        more = page_of(installation.reading(at), wanted, days, found.pop("next"))
        found = found | more | {"environments": found["environments"] + more["environments"]}
    found["environments"].sort(key=lambda each: ("ended_at" in each, each["deadline"], each["id"]))
    show.answer(as_json, found, show.environments(found["environments"], at))
    if "next" in found and not as_json:
        click.echo(f"There are more: --after '{found['next']}', or --all")


@command
@click.option("--application", help="Only of this one.")
def queue(installation: Installation, as_json: bool, application: str | None) -> None:
    """List who waits for room, in the order in which they are admitted: for what, behind whom, about how long. Below
    it, the ceilings and budgets that are nearly used up."""
    from mayfly_cli import show

    found = installation.reading(now()).queue()
    found["queue"] = [each for each in found["queue"] if application in (None, each["application"])]
    show.answer(as_json, found, show.queue(found["queue"], found["now"]))
    for each in [] if as_json else found["low"]:
        click.echo(f"Room is running low: {each['reason']} ({each['percent']} %)")


@command
@click.option("--application", help="Only of this one.")
@click.option(
    "--days", type=click.IntRange(1, 366), default=30, show_default=True, help="Releases of the last so many."
)
def flaky(installation: Installation, as_json: bool, application: str | None, days: int) -> None:
    """Show how often suites passed by a repetition only (`retries`), the most flaky first."""
    from mayfly import views
    from mayfly_cli import show

    found = views.flakiness(installation.reading(now()).releases(days, application)["releases"])
    rows = [(one["application"], one["suite"], one["runs"], one["flaky"]) for one in found]
    table = show.table(f"Suites in {days} days", ("application", "suite", "runs", "flaky"), rows)
    show.answer(as_json, {"days": days, "suites": found}, table)


@command
@click.argument("name", shell_complete=known("release", "rollout"))
@click.option("--timeout", type=click.IntRange(0), help="Minutes after which to give up; never where it is left out.")
@click.option("--ready", is_flag=True, help="Of a release or an environment: only until its tests may begin.")
def watch(installation: Installation, as_json: bool, name: str, timeout: int | None, ready: bool) -> None:
    """Follow a release, an environment, a bake or a rollout to its end.

    Exits with 0 where its tests passed, the image was proven or the rollout completed, and with 1 where not; with
    --ready, with 0 where all its environments are ready.
    """
    if ready:
        readiness_of(installation, name, as_json, timeout)
    else:
        end_of(installation, name, as_json, timeout)


def readiness_of(installation: Installation, name: str, as_json: bool, timeout: int | None) -> None:
    """Follows it until its tests may begin, and prints in what.

    Raises:
        Failed: they may not begin in all of it; says where not, and why.
    """
    from mayfly_cli import show, watching

    watch = watching.begin(installation, name)
    if not watch.has_tests:
        raise click.UsageError(f"--ready: {name} is a {watch.kind.kind}, which has no tests.")
    watch.ready = True
    parts = watch.parts(watching.follow(watch, now, None if timeout is None else timeout * 60))
    reading = installation.reading(at := now())
    shown = [reading.environment(part) for part in parts]
    show.answer(as_json, {"id": name, "environments": shown}, show.environments(shown, at))
    if late := [f"{part.id} is {watching.summary(part)}" for part in parts if not watching.is_ready(part)]:
        raise Failed("; ".join(late))
    if not parts:
        raise Failed(f"{name} {watching.summary(watch.record())}")


def end_of(installation: Installation, name: str, as_json: bool, timeout: int | None) -> None:
    """Follows it, prints how it ended, and ends this command the same way."""
    from mayfly import views
    from mayfly.domain.records import Rollout
    from mayfly_cli import show, watching

    record = watching.follow(
        watch := watching.begin(installation, name), now, None if timeout is None else timeout * 60
    )
    passed, said = watching.went_well(record), watching.summary(record)
    reading = installation.reading(now())
    parts = [reading.environment(part) for part in watch.parts(record)]
    shown = {"id": name, "kind": record.kind, "passed": passed, "reason": said, "environments": parts}
    show.answer(as_json, shown | ({"rollout": views.rollout(record)} if isinstance(record, Rollout) else {}))
    if not as_json:
        click.echo(f"{name} {said}")
    raise SystemExit(0 if passed else 1)


@command
@environment_argument
@click.argument("minutes", type=Duration(), metavar="MINUTES")
@why_option
@wait_option
def extend(installation: Installation, as_json: bool, environment: str, minutes: int, why: str, wait: bool) -> None:
    """Let ENVIRONMENT live longer, up to its ceiling: MINUTES, or 2h, 1d, 1h30m."""
    from mayfly.contract.requests import EnvironmentExtensionRequested
    from mayfly.domain.records import Environment
    from mayfly_cli import show

    who = installation.who
    message = EnvironmentExtensionRequested(environment=environment, minutes=minutes, why=why, requested_by=who)
    record, line = asked(installation, installation.find(Environment, environment), message, wait)
    show.answer(as_json, {"accepted": True, "environment": installation.reading(now()).environment(record)})
    if not as_json:
        click.echo(f"{environment} ends at {record.deadline}" if line else "asked for")


@command
@environment_argument
@click.option("--for", "minutes", type=Duration(), default="12h", show_default=True, help="Such as 90m, 12h or 3d.")
@why_option
@wait_option
def sleep(installation: Installation, as_json: bool, environment: str, minutes: int, why: str, wait: bool) -> None:
    """Have ENVIRONMENT sleep: its instances end, all the rest of it stays. Whatever its office hours say.

    One of a manual suite, a preview, or a permanent one of kind staging.
    """
    from mayfly.contract.requests import EnvironmentSleepRequested

    message = EnvironmentSleepRequested(
        environment=environment, minutes=minutes, why=why, requested_by=installation.who
    )
    sleeping(installation, as_json, message, wait)


@command
@environment_argument
@click.option("--for", "minutes", type=Duration(), default="8h", show_default=True, help="Such as 90m, 8h or 3d.")
@why_option
@wait_option
def wake(installation: Installation, as_json: bool, environment: str, minutes: int, why: str, wait: bool) -> None:
    """Have ENVIRONMENT awake, with as many instances as before. Whatever its office hours say."""
    from mayfly.contract.requests import EnvironmentWakeRequested

    who = installation.who
    message = EnvironmentWakeRequested(environment=environment, minutes=minutes, why=why, requested_by=who)
    sleeping(installation, as_json, message, wait)


def sleeping(
    installation: Installation,
    as_json: bool,
    message: EnvironmentSleepRequested | EnvironmentWakeRequested,
    wait: bool,
) -> None:
    """Asks for it, and says until when it holds."""
    from mayfly import views
    from mayfly.domain.records import Environment, Service
    from mayfly_cli import show

    service = installation.records(Service).get(message.environment)
    record, line = asked(installation, service or installation.find(Environment, message.environment), message, wait)
    found = views.service(record) if isinstance(record, Service) else installation.reading(now()).environment(record)
    show.answer(as_json, {"accepted": True, "environment": found})
    if not as_json:
        verb = "is to sleep" if message.event == Event.ENVIRONMENT_SLEEP_REQUESTED else "is to be awake"
        until = record.override.until if line and record.override else ""
        click.echo(f"{record.id} {verb} until {until}, whatever its office hours say" if line else "asked for")


@command
@environment_argument
@why_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--again", is_flag=True, help="Begin anew with one whose ending was handed over to a person.")
@wait_option
def end(
    installation: Installation, as_json: bool, environment: str, why: str, yes: bool, again: bool, wait: bool
) -> None:
    """End ENVIRONMENT now, with all that is in it."""
    from mayfly.contract.requests import EnvironmentTerminationRequested
    from mayfly.domain.records import Environment
    from mayfly_cli import show

    who = installation.who
    message = EnvironmentTerminationRequested(environment=environment, why=why, requested_by=who, again=again)
    record = installation.find(Environment, environment)
    if again and not record.handed_over:
        raise Failed(f"{environment} was not handed over to a person: leave --again out to end it")
    if (ending := record.ending) and not again:
        raise Failed(f"{environment} was ended already by {ending.by}: {ending.reason}")
    lost = f"{show.count(record.instances_built or 0, 'instance')} of {record.application} {record.version}"
    if not yes and not click.confirm(f"End {environment}: {lost}, suite {record.suite}?", err=True):
        raise Failed("Nothing was ended.")
    record, line = asked(installation, record, message, wait)
    show.answer(as_json, {"accepted": True, "environment": installation.reading(now()).environment(record)})
    heed_kill_switch(installation, environment)
    if not as_json:
        click.echo(f"{environment} is being ended" if line else "asked for")


@command
@environment_argument
@click.argument("outcome", type=click.Choice([*map(str, TestResult)]))
@click.option("--reason", help="Why; stands in the verdict.")
@click.option("--report", help="Where the report is.")
@click.option(
    "--token", help="The environment's, as Environment Ready announced it: an automated suite passes with it only."
)
@wait_option
def result(
    installation: Installation,
    as_json: bool,
    environment: str,
    outcome: Any,
    reason: str | None,
    report: str | None,
    token: str | None,
    wait: bool,
) -> None:
    """Say how the tests in ENVIRONMENT went."""
    from mayfly.contract.requests import TestFinished
    from mayfly.domain.ending import refusal_of
    from mayfly.domain.records import Environment
    from mayfly_cli import show

    who = installation.who
    message = TestFinished(
        environment=environment, outcome=outcome, reason=reason, report=report, finished_by=who, token=token
    )
    record = installation.find(Environment, environment)
    if refusal := refusal_of(record, outcome, token, by_person=True):
        raise Failed(refusal)
    record, line = asked(installation, record, message, wait)
    show.answer(as_json, {"accepted": True, "environment": installation.reading(now()).environment(record)})
    heed_kill_switch(installation, environment)
    if not as_json:
        click.echo(f"{environment} {outcome}, and is being ended" if line else "asked for")


@command
@environment_argument
def show_(installation: Installation, as_json: bool, environment: str) -> None:
    """Show ENVIRONMENT with its outputs, its instances, its cost and its history."""
    from mayfly import views
    from mayfly.domain.records import Environment, Fleet
    from mayfly.prices import list_prices
    from mayfly_cli import show

    record = installation.find(Environment, environment)
    at = now()
    fleet, machine = installation.records(Fleet).get(record.id), installation.settings.environment_machine
    found = views.whole_environment(record, fleet, at, list_prices(), machine)
    tables = (show.facts(found, at), show.outputs(found["outputs"]), show.instances(found["instances"]))
    show.answer(as_json, found, *tables, show.history(found["history"]))


role_option = click.option(
    "--role", help="A role in the workload account that you may assume, to look at what is there."
)


@command
@environment_argument
@click.option("--instance", help="This one; the first that runs where it is left out.")
@click.option("--port", help="Forward a port instead of opening a shell: REMOTE, or LOCAL:REMOTE.")
@role_option
def open_(
    installation: Installation,
    as_json: bool,
    environment: str,
    instance: str | None,
    port: str | None,
    role: str | None,
) -> None:
    """Open a shell on an instance of ENVIRONMENT, or forward a port to it, by a session of Systems Manager.

    Needs the AWS CLI with its session-manager-plugin. With --json, only says what it would run.
    """
    from mayfly.domain.records import Environment
    from mayfly_cli import looking, show
    from mayfly_cli.doctor import Target

    record = installation.find(Environment, environment)
    target = Target(installation, record.account, record.region, role)
    running = looking.instances(target, environment)
    if not running or (instance and instance not in running):
        raise NotFound(f"{environment} has no such running instance. Those that run: {', '.join(running) or 'none'}.")
    line = looking.session(instance or running[0], record.region, ports(port))
    if as_json:
        show.answer(True, {"instances": running, "command": line})
        return
    looking.become(line, target)


def ports(said: str | None) -> tuple[int, int] | None:
    """Returns the local and the remote port that somebody names."""
    if said is None:
        return None
    local, _, remote = said.partition(":")
    if not local.isdigit() or (remote and not remote.isdigit()):
        raise click.UsageError(f"--port: expected REMOTE, or LOCAL:REMOTE, but it is {said!r}")
    return int(local), int(remote or local)


@command
@click.argument("name", metavar="ENVIRONMENT|BAKE", shell_complete=known("environment", "bake"))
@click.option("--instance", help="Of this instance of an environment: what EC2 has of its console.")
@role_option
def logs(installation: Installation, as_json: bool, name: str, instance: str | None, role: str | None) -> None:
    """Print the log of an environment's tests that Mayfly has run, or of a bake; or what an instance's console says."""
    from mayfly_cli import looking, show

    text = (
        looking.console_of(installation, name, instance, role) if instance else looking.log_of(installation, name, role)
    )
    show.answer(as_json, {"name": name, "log": text})
    if not as_json:
        click.echo(text, nl=False)


# ---- images -----------------------------------------------------------------------------------------------------


@command
@click.argument("family", required=False)
def images(installation: Installation, as_json: bool, family: str | None) -> None:
    """Show where channels point, the bakes of the last 7 days, and how many instances failed in them."""
    from mayfly_cli import show

    found = installation.reading(now()).images(days=7)
    found["families"] = [each for each in found["families"] if family in (None, each["family"])]
    if family and not found["families"]:
        raise NotFound(f"There is no image family {family!r}. See `mayfly images`.")
    tables = (show.channels(found["families"]), show.bakes(found["families"]), show.failures(found["failures"]))
    show.answer(as_json, found, *tables)


@command
@click.argument("before")
@click.argument("after")
def compare(installation: Installation, as_json: bool, before: str, after: str) -> None:
    """Show how AFTER differs from BEFORE: two images, or two releases.

    Of images, packages, services, and the files that Puppet manages. Of releases, what was pushed, the image and what
    it consists of, the blueprint and its parameters.
    """
    from mayfly.domain.records import Release
    from mayfly.workflows import image_contents
    from mayfly_cli import show

    if not after.startswith("ami-"):
        was, now_is = installation.find(Release, before), installation.find(Release, after)
        said = installation.reading(now()).compared(was, now_is, installation.settings.reports)
        show.answer(as_json, said, *show.release_differences(said))
        return
    try:
        found = image_contents.differences(installation.settings.reports, before, after)
    except image_contents.NotRecorded as unknown:
        raise NotFound(f"{unknown}. See `mayfly images`.") from None
    show.answer(as_json, found, show.differences(found))


@command
@click.argument("family")
@why_option
@click.option("--watch/--no-watch", "watched", default=False, help="Follow the bake; ends like `mayfly watch`.")
def bake(installation: Installation, as_json: bool, family: str, why: str, watched: bool) -> None:
    """Have a new image of FAMILY baked and proven."""
    from mayfly.contract.requests import ImageBakeRequested
    from mayfly.domain.bake import bake_id
    from mayfly.domain.records import Bake
    from mayfly.workflows import catalogue
    from mayfly_cli import show
    from mayfly_cli.installation import note, until

    message = ImageBakeRequested(family=family, why=why, requested_by=installation.who)
    catalogue.family(installation.settings.parameters, family)
    name = bake_id(family, installation.say(message))
    until(lambda: installation.records(Bake).get(name), f"the record of the bake {name}")
    if watched:
        note(f"{name} was accepted")
        end_of(installation, name, as_json, None)
        return
    show.answer(as_json, {"accepted": True, "bake": name})
    if not as_json:
        click.echo(f"{name} was accepted. To follow it: mayfly watch {name}")


@command
@click.argument("family")
@click.argument("channel")
@click.argument("image")
@why_option
def promote(installation: Installation, as_json: bool, family: str, channel: str, image: str, why: str) -> None:
    """Point CHANNEL of FAMILY to IMAGE, as its family's own Region calls it.

    What differs from the image that it points to is shown beside.
    """
    from mayfly.contract.requests import ImagePromotionRequested

    message = ImagePromotionRequested(
        family=family, channel=channel, image=image, why=why, requested_by=installation.who
    )
    changes = brought(installation, family, channel, image)
    if not as_json:
        show_changes(changes)
    move(installation, as_json, message, differences=changes)


def brought(installation: Installation, family: str, channel: str, image: str) -> Json:
    """Tells how an image differs from the one that a channel points to, or why nobody knows; {} where it is the same
    one."""
    from mayfly.workflows import channels, image_contents

    now_there = channels.read(installation.settings.table, family, channel).image
    if not now_there or now_there == image:
        return {}
    try:
        return image_contents.differences(installation.settings.reports, now_there, image)
    except image_contents.NotRecorded as unknown:
        return {"before": now_there, "after": image, "unknown": str(unknown)}


def show_changes(changes: Json) -> None:
    """Shows on standard error what a promotion brings: what was asked for is the move."""
    from mayfly_cli import show

    if "unknown" in changes:
        click.echo(f"What it brings is not known: {changes['unknown']}", err=True)
    elif changes:
        show.aside(show.differences(changes))


@command
@click.argument("family")
@click.argument("channel")
@click.option("--image", help="The image to get away from: said twice, this goes back once.")
@why_option
def rollback(installation: Installation, as_json: bool, family: str, channel: str, image: str | None, why: str) -> None:
    """Point CHANNEL of FAMILY back to the image before."""
    from mayfly.contract.requests import ImageRollbackRequested

    message = ImageRollbackRequested(
        family=family, channel=channel, image=image, why=why, requested_by=installation.who
    )
    move(installation, as_json, message)


def move(
    installation: Installation, as_json: bool, message: ImagePromotionRequested | ImageRollbackRequested, **also: Json
) -> None:
    """Asks for a channel's move and waits for it: its execution is named by the event."""
    from mayfly.aws.clients import controller
    from mayfly.contract.vocabulary import Event
    from mayfly.domain.channel import move_id
    from mayfly.workflows import catalogue, channels
    from mayfly_cli import show
    from mayfly_cli.installation import until

    family, channel = message.family, message.channel
    catalogue.family(installation.settings.parameters, family)
    states = controller("stepfunctions")
    name = move_id(family, channel, installation.say(message))
    arn = f"{installation.settings.promotion_machine.replace(':stateMachine:', ':execution:')}:{name}"

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
    moved = channels.read(installation.settings.table, family, channel)
    said = json.loads(execution["output"])
    back = message.event == Event.IMAGE_ROLLBACK_REQUESTED
    there = message.image not in (None, moved.image) if back else message.image == moved.image
    if not said["moved"] and not there:
        raise Failed(f"{channel} of {family} points to {moved.image or 'nothing'} still: {said['reason']}")
    done = {"accepted": True, "family": family, "channel": channel, "image": moved.image, "move": name}
    show.answer(as_json, done | also)
    if not as_json:
        click.echo(f"{channel} of {family} points to {moved.image}")


# ---- permanent environments -------------------------------------------------------------------------------------


@command
@click.argument("service", required=False, shell_complete=known("service"))
def services(installation: Installation, as_json: bool, service: str | None) -> None:
    """Show permanent environments, and their rollouts of the last 30 days."""
    from mayfly.domain.records import Service
    from mayfly_cli import show

    at = now()
    reading = installation.reading(at)
    if service:
        installation.find(Service, service)
    found = reading.services() | {"rollouts": reading.rollouts(days=30)["rollouts"]}
    found["services"] = [each for each in found["services"] if service in (None, each["id"])]
    found["rollouts"] = [each for each in found["rollouts"] if service in (None, each["service"])]
    show.answer(as_json, found, show.services(found["services"], at), show.rollouts(found["rollouts"]))


@command
@click.argument("rollout", shell_complete=known("rollout"))
@why_option
def approve(installation: Installation, as_json: bool, rollout: str, why: str) -> None:
    """Let ROLLOUT begin that waits for a person, or have one tried again that went badly."""
    from mayfly.contract.requests import RolloutApproved
    from mayfly.domain.records import Rollout

    message = RolloutApproved(rollout=rollout, why=why, approved_by=installation.who)
    record = installation.find(Rollout, rollout)
    if record.stage not in _APPROVABLE:
        raise Failed(
            f"{rollout} is {record.stage}: nobody has to approve it. "
            f"What waits for something else is started by: mayfly roll-out {record.service}"
        )
    decided(installation, as_json, record.service, message, "approved")


@command
@click.argument("service", shell_complete=known("service"))
@click.option("--back", is_flag=True, help="One step back: to exactly what it had before.")
@why_option
def roll_out(installation: Installation, as_json: bool, service: str, back: bool, why: str) -> None:
    """Roll SERVICE out now: to what is wanted of it, or to new instances of the same.

    Waits for no approval, window or alarm that fires already; only for the kill switch.
    """
    from mayfly.contract.requests import RolloutRequested

    to: Any = "previous" if back else "latest"
    message = RolloutRequested(service=service, to=to, why=why, requested_by=installation.who)
    decided(installation, as_json, service, message, f"asked for {to}")


@command
@click.argument("rollout", shell_complete=known("rollout"))
@why_option
def abort(installation: Installation, as_json: bool, rollout: str, why: str) -> None:
    """Stop ROLLOUT that runs: it goes back at once to what was there before.

    Once every instance is replaced, step back instead: `mayfly roll-out --back`.
    """
    from mayfly import views
    from mayfly.contract.requests import RolloutAbortRequested
    from mayfly.domain.records import Rollout
    from mayfly.domain.rollout import no_abort
    from mayfly_cli import show

    message = RolloutAbortRequested(rollout=rollout, why=why, requested_by=installation.who)
    record = installation.find(Rollout, rollout)
    if not views.rollout_stage(record)["can_abort"]:
        step = record.waiting.for_ if record.waiting else None
        known = "it was stopped already" if record.aborted else None
        raise Failed(f"{rollout}: {known or no_abort(record.stage or UNKNOWN, step, record.service)}")
    record, _ = asked(installation, record, message)
    show.answer(as_json, {"accepted": True, "rollout": views.rollout(record)})
    if not as_json:
        click.echo(f"{rollout} goes back. To follow it: mayfly watch {rollout}")


@command
@click.argument("rollout", shell_complete=known("rollout"))
@why_option
def pause(installation: Installation, as_json: bool, rollout: str, why: str) -> None:
    """Have ROLLOUT stop at its next checkpoint, or at the one where it is watched now, until it is resumed or aborted.

    No alarm is watched while it stands, and a pause counts into what a rollout may take (limit_minutes).
    """
    from mayfly.contract.requests import RolloutPauseRequested
    from mayfly.domain.records import Rollout
    from mayfly.domain.rollout import no_pause

    message = RolloutPauseRequested(rollout=rollout, why=why, requested_by=installation.who)
    record = installation.find(Rollout, rollout)
    if refusal := "it is paused already" if record.paused else no_pause(record):
        raise Failed(f"{rollout}: {refusal}")
    held(installation, as_json, record, message, "pauses, at a checkpoint")


@command
@click.argument("rollout", shell_complete=known("rollout"))
@why_option
def resume(installation: Installation, as_json: bool, rollout: str, why: str) -> None:
    """Let ROLLOUT go on that is paused: with the instances that are left."""
    from mayfly import views
    from mayfly.contract.requests import RolloutResumeRequested
    from mayfly.domain.records import Rollout

    message = RolloutResumeRequested(rollout=rollout, why=why, requested_by=installation.who)
    record = installation.find(Rollout, rollout)
    if not views.rollout_stage(record)["can_resume"]:
        raise Failed(f"{rollout}: it is {record.stage}, and not paused")
    held(installation, as_json, record, message, "goes on")


def held(installation: Installation, as_json: bool, record: Rollout, message: Request, said: str) -> None:
    """Asks for a rollout to pause or to go on, and says so when that was heard."""
    from mayfly import views
    from mayfly_cli import show

    record, _ = asked(installation, record, message)
    show.answer(as_json, {"accepted": True, "rollout": views.rollout(record)})
    if not as_json:
        click.echo(f"{record.id} {said}. To follow it: mayfly watch {record.id}")


def decided(installation: Installation, as_json: bool, service: str, message: Request, noted: str) -> None:
    """Puts a request about a service on the bus, waits until its history tells what was decided, and prints that.

    Args:
        noted: what the history calls the request.

    Raises:
        Failed: there is nothing to roll out; the history says why. NotYet: it waits for something.
    """
    from mayfly.domain.records import Service
    from mayfly_cli import show
    from mayfly_cli.errors import NotYet
    from mayfly_cli.installation import until

    who, before = installation.who, installation.find(Service, service).lines
    installation.say(message)

    def look() -> tuple[str, str] | None:
        record = installation.find(Service, service)
        lines = iter(since(record, before))
        asked = next((line for line in lines if line.what == noted and is_of(line.who, who)), None)
        if asked is None:
            return None
        if asked.why.startswith("refused: "):
            raise Failed(f"{service}: {asked.why}")
        after = (line for line in lines if line.who == "plan" and line.what != "release passed")
        return next(((line.what, line.why) for line in after), None) or unchanged(record)

    stage, said = until(look, f"what was decided about {service}, in its history")
    if stage == "not wanted any more":
        raise Failed(f"{service}: {said}")
    rollout, _, reason = said.partition(": ")
    after_another = stage == RolloutStage.RUNNING
    stage = RolloutStage.RUNNING if stage == "rollout started" else stage
    show.answer(as_json, {"accepted": True, "service": service, "rollout": rollout, "stage": stage, "why": reason})
    if not as_json:
        click.echo(f"{rollout} is {stage}: {reason}\nTo follow it: mayfly watch {rollout}")
    if stage != RolloutStage.RUNNING or after_another:
        raise NotYet(f"What was asked for has not begun: {reason}")


def unchanged(record: Service) -> tuple[str, str] | None:
    """Tells where a request waits without a line of its own: for the rollout that runs, or with what waits already."""
    if running := record.rollout:
        return RolloutStage.RUNNING, f"{running}: what was asked for follows it; to stop it now: mayfly abort {running}"
    pending = record.pending
    if pending and pending.stage == RolloutStage.AWAITING_KILL_SWITCH:
        return pending.stage, f"{pending.id}: nothing begins while it is on"
    return None


# ---- evidence ---------------------------------------------------------------------------------------------------


@command
@click.option(
    "--since", default="7d", show_default=True, type=Moment(), help="From when on: a day, a time, or so long ago."
)
@click.option("--until", default="0m", type=Moment(), help="Until before when: the same; now where it is left out.")
@click.option("--application", help="Only of this one.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV on standard output.")
def history(
    installation: Installation, as_json: bool, since: str, until: str, application: str | None, as_csv: bool
) -> None:
    """Tell who did what, when and why: every line of every history within a period, in the order of time.

    A day is UTC's, such as 2026-11-24; a time such as 2026-11-24T16:00Z; so long ago such as 12h or 30d.
    """
    from mayfly.domain import history as told
    from mayfly_cli import show

    if as_csv and as_json:
        raise click.UsageError("--csv or --json, not both.")
    reading, period = installation.reading(now()), told.Period(since, until)
    part = reading.evidence(period, application)
    found = part["lines"]
    while after := part.get("next"):
        part = reading.evidence(period, application, after)
        found += part["lines"]
    found.sort(key=lambda line: (line["at"], line["kind"], line["id"]))
    if as_csv:
        click.echo(told.as_csv(told.Line(**line) for line in found), nl=False)
        return
    show.answer(as_json, {"since": since, "until": until, "lines": found}, show.evidence(found))


# ---- operations -------------------------------------------------------------------------------------------------


@main.group(epilog=EXIT_CODES)
def dead_letters() -> None:
    """What could not be followed: messages that were refused, failed or not delivered."""


def choosing(function: Command) -> Command:
    """Returns a command that takes dead letters: by name, or all that fit."""
    for option in (
        click.option("--all", "everything", is_flag=True, help="All that wait."),
        click.option("--reason", help="Those whose reason has this in it."),
        click.option("--function", "of", help="Those for this function, such as mayfly-accept-code-version."),
        click.option("--kind", type=click.Choice([*map(str, DeadLetterKind)]), help="Those of this kind."),
        click.argument("letters", nargs=-1),
    ):
        function = option(function)
    return function


@partial(command, group=dead_letters)
def list_dead_letters(installation: Installation, as_json: bool) -> None:
    """Count what waits, by kind and reason."""
    from mayfly_cli import show

    found = installation.reading(now()).dead_letters()
    show.answer(as_json, found, show.dead_letter_groups(found), show.dead_letters(found["dead_letters"]))


@partial(command, group=dead_letters)
@click.argument("letter", shell_complete=known("dead-letter"))
def show_dead_letters(installation: Installation, as_json: bool, letter: str) -> None:
    """Show LETTER with what is in it, and its history."""
    from mayfly import views
    from mayfly.aws import reports
    from mayfly.domain.records import DeadLetter
    from mayfly.workflows.dead_letters import key_of
    from mayfly_cli import show

    record = installation.find(DeadLetter, letter)
    kept = reports.read(installation.settings.reports, key_of(letter)) or {}
    found = views.whole_dead_letter(record, kept.get("message"))
    show.answer(as_json, found, show.dead_letter(found), show.history(found["history"]))
    if not as_json:
        click.echo("\n" + json.dumps(found["message"], indent=1))


@partial(command, group=dead_letters)
@choosing
@why_option
def redrive_dead_letters(installation: Installation, as_json: bool, why: str, **choice: Any) -> None:
    """Hand LETTERS, or all that fit, once more to the functions that they are for.

    Safe to repeat: what was followed meanwhile changes nothing, and what is refused again waits again.
    """
    from mayfly.contract.requests import DeadLettersRedriveRequested

    worked(installation, as_json, DeadLettersRedriveRequested, "redriven", choice | {"why": why})


@partial(command, group=dead_letters)
@choosing
@why_option
def discard_dead_letters(installation: Installation, as_json: bool, why: str, **choice: Any) -> None:
    """Put LETTERS, or all that fit, away: nobody follows them any more."""
    from mayfly.contract.requests import DeadLettersDiscardRequested

    worked(installation, as_json, DeadLettersDiscardRequested, "discarded", choice | {"why": why})


def worked(
    installation: Installation, as_json: bool, request: type[DeadLetterRequest], done: str, choice: Json
) -> None:
    """Asks for dead letters to be worked, and waits until each chosen one's history says so."""
    from mayfly.domain.records import DeadLetter
    from mayfly.workflows import dead_letters as workflow
    from mayfly_cli import show
    from mayfly_cli.installation import until

    if choice["everything"] is any(choice[name] for name in ("letters", "kind", "of", "reason")):
        raise click.UsageError("Name dead letters, or --kind, --function or --reason; or --all, and none of these.")
    message = request(
        letters=tuple(choice["letters"]) or None,
        kind=choice["kind"],
        function=choice["of"],
        reason=choice["reason"],
        why=choice["why"],
        requested_by=installation.who,
    )
    chosen = [one.id for one in workflow.chosen(installation.settings, message, utc_text(now()))]
    if not chosen:
        raise NotFound("No dead letter that waits fits. See `mayfly dead-letters list`.")
    sent = utc_text(now().replace(microsecond=0))  # events tell whole seconds
    installation.say(message)
    records = installation.records(DeadLetter)

    def look() -> list[str] | None:
        told = [
            [line.what for line in one.history if line.at >= sent and is_of(line.who, installation.who)]
            for one in records.many(chosen)
        ]
        return [line[-1] for line in told] if all(told) else None

    said = until(look, f"what became of {len(chosen)} dead letters", patience=15 * 60)
    count = said.count(done)
    show.answer(as_json, {"accepted": True, done: count, "chosen": len(chosen)})
    if not as_json:
        click.echo(f"{count} of {len(chosen)} dead letters were {done}")
    if count < len(chosen):
        raise Failed("The history of the others says why not: mayfly dead-letters show LETTER")


@command
@click.option("--dry-run", is_flag=True, help="Only say what it would do.")
@click.option("--at-most", type=click.IntRange(0, 5000), default=0, help="Terminations to let through above the caps.")
@why_option
def sweep(installation: Installation, as_json: bool, dry_run: bool, at_most: int, why: str) -> None:
    """Have a sweep run now, and show its report."""
    from mayfly import views
    from mayfly.contract.requests import SweepRequested
    from mayfly_cli import reports, show
    from mayfly_cli.installation import until

    who = installation.who
    message = SweepRequested(dry_run=dry_run, at_most=at_most, why=why, requested_by=who)
    bucket = installation.settings.reports
    before = reports.keys(bucket, now())
    installation.say(message)
    report = until(
        lambda: reports.fresh(bucket, now(), before, lambda said: is_of(said, who)), "the sweep's report", patience=300
    )
    rows = [(each["environment"], each["action"], each["reason"]) for each in report["decisions"]]
    counts = ", ".join(f"{count} {action}" for action, count in report["counts"].items() if count) or "nothing"
    title = f"{'What it would do' if dry_run else 'What it did'}: {counts}"
    title += f". It was halted: {report['halted']}" if report["halted"] else ""
    show.answer(as_json, views.report(report), show.table(title, ("environment", "action", "reason"), rows))


@command
@click.argument("on", type=click.Choice(["on", "off"]), required=False)
@click.option("--why", help="Needed to turn it.")
def kill_switch(installation: Installation, as_json: bool, on: str | None, why: str | None) -> None:
    """Show the kill switch, or turn it: while it is on, nothing is destroyed."""
    from mayfly.aws import kill_switch
    from mayfly.contract.requests import KillSwitchSet
    from mayfly_cli import show
    from mayfly_cli.installation import until

    def said() -> str:
        return kill_switch.read(installation.settings.parameters)

    if on:
        if not why:
            raise click.UsageError("--why is needed to turn the kill switch.")
        message = KillSwitchSet(on=on == "on", why=why, set_by=installation.who)
        installation.say(message)
        until(lambda: (said() != kill_switch.OFF) == message.on or None, f"the kill switch is {on}")
    shown = installation.reading(now()).kill_switch()
    show.answer(as_json, shown)
    if not as_json:
        click.echo(f"on: {shown['why']}" if shown["on"] else "off")


@command
@click.option("--days", type=click.IntRange(0, 366), default=7, show_default=True, help="Of environments ended since.")
@click.option("--application", help="Only of this one.")
def costs(installation: Installation, as_json: bool, days: int, application: str | None) -> None:
    """Say what environments cost, at list prices: instances and their volumes."""
    from mayfly_cli import show

    bill = installation.reading(now()).costs(days, application)
    show.answer(as_json, bill, show.bill(bill, days))


@main.group(epilog=EXIT_CODES)
def blueprint() -> None:
    """Examine a CloudFormation template, and make it a blueprint."""


@blueprint.command(epilog=EXIT_CODES)
@blueprinting.file_argument
@click.option("--json", "as_json", is_flag=True, help="JSON on standard output; messages go to standard error.")
def check(file: Path, as_json: bool) -> None:
    """Say what of a template would fail, collide between two environments, or outlive them, and on which line.

    Asks no AWS account. Exits with 1 where an environment of it could not be built or ended; warnings are none.
    """
    from mayfly.workflows.examination import examine

    text = file.read_text()
    remarks = examine(text)
    blueprinting.say_remarks(file.name, text, remarks, as_json)
    raise SystemExit(1 if any(one.level == "error" for one in remarks) else 0)


for _function in (
    *(blueprinting.init, blueprinting.apply, blueprinting.show),
    *(blueprinting.back, blueprinting.remove),
):
    command(_function, blueprint)


@command
@click.option("--role", help="A role in each workload account that you may assume, to look at what is there.")
def doctor(installation: Installation, as_json: bool, role: str | None) -> None:
    """Examine the installation, and say what is wrong and what to do.

    Exits with 1 where a check failed; warnings are none.
    """
    from mayfly.domain.timestamp import utc_text
    from mayfly_cli import doctor as examination
    from mayfly_cli import show

    at = now()
    findings = examination.examine(installation, at, role)
    failed = any(finding.state == "failure" for finding in findings)
    rows = [(each.state, each.check, each.said, each.todo) for each in findings]
    show.answer(
        as_json,
        {"now": utc_text(at), "ok": not failed, "checks": [each.as_json() for each in findings]},
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
