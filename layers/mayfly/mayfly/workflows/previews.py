"""Keeps previews of pull requests: each lives until its pull request is closed, the next version follows, or its
deadline."""

from contextlib import suppress
from typing import Any

from mayfly.aws import executions, names
from mayfly.aws.records import ChangedMeanwhile, Conflict, Records, attr, forget_after
from mayfly.contract.announcements import EnvironmentFailed
from mayfly.contract.orders import Order
from mayfly.contract.vocabulary import EndingCause, Outcome, SuiteKind
from mayfly.domain.preview import name_of, record_of
from mayfly.domain.records import Ending, Entry, Environment, PullRequest, Release, Unsaid
from mayfly.settings import Settings
from mayfly.workflows import environments, releases

_CLOSED = "its pull request was closed"
_BROKEN_OFF = "Aborted: its execution was over before anything was built"
_REMEMBERED = 50
"""Previews of a pull request: so many, that its record never fills, whatever is pushed. One that is not among them any
more was ended, or is as soon as it is ready."""


def pull_request_of(application: str, number: int) -> str:
    """Returns what a pull request is called."""
    return f"{application}#{number}"


def begin(settings: Settings, release: Release, entry: Entry) -> str:
    """Starts the preview of a release and ends those of the versions before; returns what came of it. A release that
    was pushed before the one that is shown already, or before its pull request was closed, gets none."""
    order = releases.plan_preview(settings, release)
    if order is None or release.pull_request is None:
        return "its application has no suite of the kind preview"
    seen = _seen(settings, pull := pull_request_of(release.application, release.pull_request))
    if release.began < max(seen.pushed_at, seen.closed_at):
        return f"{pull} was closed, or shows a later version"
    if order.environment not in seen.previews:
        line = Entry(entry.at, entry.who, SuiteKind.PREVIEW, order.environment)
        shown = (*seen.previews, order.environment)[-_REMEMBERED:]
        _change(settings, seen, line, previews=shown, pushed_at=release.began)
    _owe(settings, order, entry.at)
    executions.start(settings.environment_machine, order.environment, order.plain())
    for earlier in seen.previews:
        if earlier != order.environment:
            _end(settings, earlier, f"superseded by {release.version}", entry)
    return f"{order.environment} is the preview of {pull}"


def _owe(settings: Settings, order: Order, now: str) -> None:
    """Writes down what is to be said of a preview whose execution is over before its record is there: a sweep says it
    then, as no verdict does."""
    failed = EnvironmentFailed(**environments.told_of(order), reason=_BROKEN_OFF, instances_left=0)
    facts: dict[str, Any] = {"live": Unsaid.kind.value, "at": now, "event": failed.event, "detail": failed.written()}
    with suppress(Conflict):  # a repetition
        Records(settings.table, Unsaid).change(
            order.environment, by=settings.environment_machine, only_if=attr(Unsaid.event).not_exists(), **facts
        )


def close(settings: Settings, application: str, number: int, entry: Entry) -> tuple[str, ...]:
    """Ends what shows a pull request that was closed; returns the names."""
    seen = _seen(settings, pull_request_of(application, number))
    if entry.at <= seen.closed_at:
        return ()
    _change(settings, seen, entry, closed_at=entry.at)
    for environment in seen.previews:
        _end(settings, environment, _CLOSED, entry)
    return seen.previews


def ready(settings: Settings, preview: Environment, entry: Entry) -> str:
    """Has the address of a pull request lead to its preview that is ready; ends one that nobody needs any more, as its
    life had not begun when that was known."""
    pull = _pull_request(settings, preview)
    if pull is None or preview.id not in pull.previews[-1:] or pull.closed_at > pull.pushed_at:
        _end(
            settings,
            preview.id,
            _CLOSED if pull and pull.closed_at > pull.pushed_at else "a later version is shown",
            entry,
        )
        return f"{preview.id} is ended: nobody needs it any more"
    name = _name(settings, pull)
    record = record_of(preview.outputs, name) if name else None
    if record is None:
        return "no address: no zone is configured, or no output is a web address"
    if pull.address != name:
        if names.is_taken(settings.preview_zone, record.name):
            return f"no address: {name} is in the zone already, and Mayfly has not made it"
        _change(settings, pull, Entry(entry.at, entry.who, "address", str(name)), address=name)
    names.point(settings.preview_zone, record)
    return f"{name} leads to {record.value}"


def gone(settings: Settings, preview: Environment, entry: Entry) -> str:
    """Removes the address of a pull request whose newest preview is gone."""
    pull = _pull_request(settings, preview)
    if pull is None or preview.id not in pull.previews:
        return "its pull request does not know it any more"
    name = _name(settings, pull)
    said, address = f"{name} stays with the preview that follows", pull.address
    if preview.id == pull.previews[-1]:
        had = names.forget(settings.preview_zone, f"{name}.") if name and address == name else False
        said, address = f"{name} leads nowhere any more" if had else "it had no address", ""
    left = tuple(each for each in pull.previews if each != preview.id)
    _change(settings, pull, Entry(entry.at, entry.who, "preview gone", preview.id), previews=left, address=address)
    return said


def _seen(settings: Settings, pull: str) -> PullRequest:
    return Records(settings.table, PullRequest).get(pull) or PullRequest(id=pull)


def _change(settings: Settings, seen: PullRequest, entry: Entry, **facts: Any) -> None:
    """Changes a pull request that is as it was seen.

    Raises:
        ChangedMeanwhile: it is not.
    """
    previews, closed = attr(PullRequest.previews), attr(PullRequest.closed_at)
    shown = previews.eq([*seen.previews]) if seen.previews else previews.not_exists() | previews.eq([])
    as_seen = shown & (closed.eq(seen.closed_at) if seen.closed_at else closed.not_exists())
    kept = forget_after(entry.at, settings.record_days)
    try:
        Records(settings.table, PullRequest).change(seen.id, entry, forget_after=kept, only_if=as_seen, **facts)
    except Conflict:
        raise ChangedMeanwhile(seen.id) from None


def _end(settings: Settings, environment: str, why: str, entry: Entry) -> None:
    """Ends a preview as a person's request would. A preview whose life has not begun is ended when it is ready."""
    records = Records(settings.table, Environment)
    if records.get(environment):
        ending = Ending(EndingCause.REQUEST, Outcome.CANCELLED, why, entry.at)
        environments.end(records, environment, ending, Entry(entry.at, entry.who, entry.what, why))


def _pull_request(settings: Settings, preview: Environment) -> PullRequest | None:
    """Returns the pull request that a preview shows."""
    if preview.suite_kind != SuiteKind.PREVIEW:
        return None
    release = Records(settings.table, Release).get(preview.release)
    if release is None or release.pull_request is None:
        return None
    pull = pull_request_of(release.application, release.pull_request)
    return Records(settings.table, PullRequest).get(pull)


def _name(settings: Settings, pull: PullRequest) -> str | None:
    application, _, number = pull.id.partition("#")
    return name_of(application, int(number), settings.preview_domain) if settings.preview_zone else None
