"""What a forge is told of a release: composed from the records, as they are at this moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec.structs import asdict

from mayfly.aws.records import Records, forget_after
from mayfly.contract.reader import Refused
from mayfly.contract.vocabulary import EnvironmentStage, SuiteKind
from mayfly.domain import forge
from mayfly.domain.records import Environment, PullRequest, Release
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger
from mayfly.settings import Settings
from mayfly.workflows import catalogue

if TYPE_CHECKING:
    from mayfly.contract.forges import Forge

_FIRST_TRIED = timedelta(days=1)
"""Since when a comment may be there that nobody remembers: who wrote it died."""
_LIVES = (EnvironmentStage.AWAITING_TESTS, EnvironmentStage.ADOPTED)


def plan(settings: Settings, name: str, now: datetime) -> dict[str, Any] | None:
    """The calls of a forge's API that show where a release stands; None where there is nobody to show it to."""
    release = Records(settings.table, Release).get(name)
    where = _forge(settings, release.application) if release else None
    if release is None or release.commit is None or where is None:
        return None
    repository = forge.Repository(where.type, where.repository, where.api or forge.API[where.type], where.context)
    link = f"{settings.console.rstrip('/')}/#/releases/{name}" if settings.console else ""
    said = {"connection": where.connection, "status": asdict(_status(release, repository, link))}
    if release.pull_request is None or not where.comments:
        return said
    pull = f"{release.application}#{release.pull_request}"
    known = Records(settings.table, PullRequest).get(pull)
    shown = [*_suites(settings, release), *_preview(settings, known)]
    text = forge.text(_title(release), link, shown)
    written = forge.comment(repository, release.pull_request, text, utc_text(now - _FIRST_TRIED))
    until = forget_after(utc_text(now), settings.record_days)
    return said | {"comment": written, "pull_request": pull, "forget_after": until}


def _forge(settings: Settings, application: str) -> Forge | None:
    try:
        return catalogue.application(settings.parameters, application).forge
    except Refused as refusal:  # the release says so; here there is nobody to tell
        logger.warning("nobody can be shown anything", extra={"reason": str(refusal)})
        return None


def _status(release: Release, repository: forge.Repository, link: str) -> forge.Call:
    verdict = release.verdict
    outcomes = [(each.suite, each.outcome) for each in verdict.suites] if verdict else None
    shown = None if outcomes is None else [outcome for _, outcome in outcomes]
    state = forge.state_of(shown, bool(verdict and verdict.passed))
    said = (
        f"{len(release.suites)} suite{'' if len(release.suites) == 1 else 's'} run"
        if verdict is None
        else verdict.reason
    )
    if outcomes and state != "success" and not release.superseded_by:
        said = forge.failed_suites(outcomes)
    return forge.status(repository, str(release.commit), state, said, link)


def _title(release: Release) -> str:
    if release.verdict is None:
        return f"{release.application} {release.version} is being tested"
    failed = "was superseded" if release.superseded_by else "did not pass"
    return f"{release.application} {release.version} {'passed' if release.verdict.passed else failed}"


def _suites(settings: Settings, release: Release) -> list[forge.Suite]:
    environments = Records(settings.table, Environment)
    named = [name for part in release.suites for name in part.attempts]
    known = {each.id: each for each in environments.many(named)}
    return [_suite(part.suite, known.get(part.latest(known))) for part in release.suites]


def _preview(settings: Settings, pull: PullRequest | None) -> list[forge.Suite]:
    """The newest preview of a pull request, as long as something is left of it."""
    newest = pull.previews[-1:] if pull else ()
    return [_suite(SuiteKind.PREVIEW, found) for found in Records(settings.table, Environment).many(newest)]


def _suite(name: str, found: Environment | None) -> forge.Suite:
    if found is None:
        return forge.Suite(name, None, "", {}, None)
    if found.ending:
        return forge.Suite(name, found.ending.outcome, found.ending.reason, {}, None)
    lives = found.stage in _LIVES or found.instances_built is not None
    return forge.Suite(name, None, "", forge.addresses(found.outputs) if lives else {}, found.deadline)
