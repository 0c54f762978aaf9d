"""Ends the releases of a branch that a newer version of it supersedes, as their application says."""

from contextlib import suppress

from mayfly.aws.records import ChangedMeanwhile, Conflict, Records, attr, forget_after
from mayfly.contract.orders import Order
from mayfly.contract.vocabulary import EndingCause, Outcome, SuiteKind
from mayfly.domain import superseding
from mayfly.domain.records import Branch, Ending, Entry, Environment, Release
from mayfly.domain.superseding import Supersede
from mayfly.settings import Settings
from mayfly.workflows import catalogue, environments
from mayfly.workflows.environments import NOT_ENDED

_WHAT = "newer version"
_REMEMBERED = 50
"""Releases of a branch: so many, that its record never fills, whatever is pushed."""


def supersede(settings: Settings, release: Release, at: str, who: str) -> None:
    """Remembers a release that is planned among those of its branch, and ends whichever of them the newest supersedes:
    this one too, where it arrived late. Each is marked first and its environments are ended then: who dies in between
    is repeated.

    Raises:
        ChangedMeanwhile: repeat it.
    """
    if not release.branch:
        return
    policy = catalogue.application(settings.parameters, release.application).supersede
    if policy == "never":
        return
    *older, newest = _remembered(settings, release, Entry(at, who, "pushed", release.id))
    for each in older:
        by = each.superseded_by or ""
        if not by and _is_superseded(settings, each, newest, policy):
            by = _marked(settings, each, newest.id, (at, who))
        # Read after it is marked: whose record begins later finds the mark.
        for one in Records(settings.table, Environment).many(_named(each)) if by else ():
            if not one.ending:
                environments.end(Records(settings.table, Environment), one.id, *_ending(by, (at, who)))


def _is_superseded(settings: Settings, older: Release, newest: Release, policy: Supersede) -> bool:
    built = {one.id: one for one in Records(settings.table, Environment).many(_named(older))}
    return superseding.is_superseded(older, newest, built, policy)


def _named(release: Release) -> list[str]:
    return [name for suite in release.suites for name in suite.attempts]


def _marked(settings: Settings, older: Release, by: str, when: tuple[str, str]) -> str:
    """Marks a release as superseded; returns by which one, "" where its verdict came meanwhile."""
    goes_on = attr(Release.verdict).not_exists() & attr(Release.superseded_by).not_exists()
    line = Entry(*when, _WHAT, superseding.reason(by))
    try:
        Records(settings.table, Release).change(older.id, line, superseded_by=by, only_if=goes_on)
    except Conflict as conflict:
        return str(conflict.found.superseded_by or "") if conflict.found else ""
    return by


def end_if_superseded(settings: Settings, order: Order, at: str, who: str) -> bool:
    """Ends an environment whose record has just begun, if its release was superseded before: whoever did that has not
    seen it, and its execution waits for nothing yet. Returns whether it was."""
    if not order.branch or order.kind is SuiteKind.PREVIEW:
        return False
    release = Records(settings.table, Release).get(order.release)
    if release is None or not release.superseded_by:
        return False
    ending, line = _ending(release.superseded_by, (at, who))
    with suppress(Conflict):  # somebody else has ended it already
        Records(settings.table, Environment).change(order.environment, line, ending=ending, only_if=NOT_ENDED)
    return True


def _remembered(settings: Settings, release: Release, entry: Entry) -> list[Release]:
    """Returns the releases of a branch that have no verdict, with this one and the newest; in their order."""
    branches = Records(settings.table, Branch)
    name = f"{release.application}#{release.branch}"
    seen = branches.get(name) or Branch(id=name)
    known = {each.id: each for each in Records(settings.table, Release).many(seen.releases)} | {release.id: release}
    found = superseding.in_order(known.values())
    kept = [each for each in found if not each.verdict or each in (release, found[-1])][-_REMEMBERED:]
    names, releases = [each.id for each in kept], attr(Branch.releases)
    if names != [*seen.releases]:
        until = forget_after(entry.at, settings.record_days)
        as_seen = releases.eq([*seen.releases]) if seen.releases else releases.not_exists()
        try:
            branches.change(name, entry, releases=tuple(names), forget_after=until, only_if=as_seen)
        except Conflict:
            raise ChangedMeanwhile(name) from None
    return kept


def _ending(by: str, when: tuple[str, str]) -> tuple[Ending, Entry]:
    """Tells how an environment ends that was superseded, as if a person had asked for it; `when`, and who ends it."""
    why = superseding.reason(by)
    return Ending(EndingCause.REQUEST, Outcome.CANCELLED, why, when[0]), Entry(*when, _WHAT, why)
