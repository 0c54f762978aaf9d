"""Releases: planned as one order a suite, judged by the records of their environments, counted for their image."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mayfly.aws.events import announce
from mayfly.aws.records import Conflict, Records, attr
from mayfly.contract.announcements import ReleasePassed
from mayfly.contract.orders import Order
from mayfly.contract.reader import Refused
from mayfly.contract.requests import CodeVersionPushed
from mayfly.contract.vocabulary import ReleaseStage
from mayfly.domain.channel import CANDIDATE, STABLE, Channel
from mayfly.domain.ending import NO_ENDING, by_failure, judge_release, result_of
from mayfly.domain.identity import environment_id
from mayfly.domain.losses import Losses, is_worse, together
from mayfly.domain.records import Entry, Environment, Image, Release, Suite, Verdict, plain
from mayfly.settings import Settings
from mayfly.workflows import admission, catalogue, channels

_PUSHED = ("application", "version", "artifact", "commit", "attempt")

_COMPARED = 100
"""Releases that are read to compare two images: the latest that passed on each."""
_COUNTED = 1000
"""Releases that are remembered of an image: as many as a policy can ask for."""


class CountedMeanwhile(Exception):
    """Somebody else counted. Repeating it counts this one too."""


def plan(settings: Settings, release: str, pushed: CodeVersionPushed) -> list[Order]:
    """One order for each suite of the application's test plan, all on one image and one blueprint.

    Raises:
        Refused: the platform team configured something wrongly.
    """
    application = catalogue.application(settings.parameters, pushed.application)
    account, region = catalogue.target(settings, application.account, application.region)
    building = catalogue.environment(settings, application, region)
    needs = catalogue.needs(settings.blueprints, building | {"parameters": application.parameters}, (account, region))
    if pushed.hotfix and not application.hotfixes:
        raise Refused(f"hotfix: expected false, because {pushed.application} is not allowed hotfixes, but it is true")
    limits = catalogue.admission(settings.parameters)
    asked = admission.demand(application, pushed.application, limits, (needs, region), pushed.hotfix)
    pool = catalogue.pool(settings.parameters, application.pool)
    return [
        Order(
            environment=environment_id(release, suite.name),
            release=release,
            suite=suite.name,
            kind=suite.kind,
            runner=suite.runner,
            pool=pool,
            demand=asked,
            account=account,
            region=region,
            **building,
            **pushed.model_dump(include={"application", "version", "artifact", "commit", "pull_request"}),
            **application.model_dump(
                include={"owner", "owner_topic", "parameters", "lifetime_minutes"}
                | {"ceiling_minutes", "warn_minutes_before", "most_extensions"}
            ),
        )
        for suite in application.suites
    ]


def remember_plan(settings: Settings, release: str, orders: list[Order], entry: Entry) -> None:
    """Writes down which environments a release has, and what all of them consist of."""
    suites, any_of = tuple(Suite(order.suite, order.environment) for order in orders), orders[0]
    template = any_of.blueprint
    Records(settings.table, Release).change(
        release,
        entry,
        stage=ReleaseStage.RUNNING,
        image=any_of.image,
        blueprint=f"{template.key} {template.version_id}" if template.version_id else template.key,
        parameters=any_of.parameters,
        instance_count=any_of.instance_count,
        suites=suites,
    )


def verdict_of(settings: Settings, release: str, error: Mapping[str, Any] | None = None) -> Verdict:
    """The verdict over a release and its reason, by the records of its environments.

    Args:
        error: why it could not be planned, as Step Functions caught it.
    """
    if error is not None:
        refusal = by_failure(error.get("Error", "Unknown"), error.get("Cause", ""))
        return Verdict(False, f"it could not be planned: {refusal.reason}")
    record = Records(settings.table, Release).get(release)
    suites = record.suites if record else ()
    environments = Records(settings.table, Environment)
    known = [(part, environments.get(part.environment)) for part in suites]
    return judge_release([result_of(part.suite, part.environment, it.ending if it else None) for part, it in known])


def remember_verdict(settings: Settings, release: str, verdict: Verdict, entry: Entry) -> None:
    """Closes a release's record with its verdict, and with the instances that failed in its environments."""
    stage = ReleaseStage.PASSED if verdict.passed else ReleaseStage.FAILED
    environments = Records(settings.table, Environment)
    found = [environments.get(suite.environment) for suite in verdict.suites]
    lost = together(one.instance_failures for one in found if one and one.instance_failures)
    said = replace(entry, why=f"{entry.why}; {lost}") if lost.count else entry
    Records(settings.table, Release).change(
        release, said, stage=stage, verdict=verdict, instance_failures=lost, drop=(Release.live,)
    )


def judge_again(settings: Settings, environment: str, entry_at: str) -> None:
    """Judges a release again whose verdict came before this environment's ending: a sweep adopted the environment after
    its execution was aborted, and its tests went on. `Release Passed` is announced late then, but is.

    It passed before that is announced, or nobody would believe it; its verdict is written afterwards: who dies in
    between announces it again.
    """
    record = Records(settings.table, Environment).get(environment)
    release = Records(settings.table, Release).get(record.release) if record else None
    if release is None or release.verdict is None or not _left_out(release.verdict, environment):
        return
    verdict = verdict_of(settings, release.id)
    if verdict.passed:
        Records(settings.table, Release).change(release.id, stage=ReleaseStage.PASSED)
        said = {name: each for name, each in plain(release).items() if name in _PUSHED}
        announce(settings.facts, ReleasePassed(release=release.id, **said, **plain(verdict)))
    entry = Entry(entry_at, "judge_release", "judged again", verdict.reason)
    remember_verdict(settings, release.id, verdict, entry)


def _left_out(verdict: Verdict, environment: str) -> bool:
    """Whether a verdict was given before an environment's life left an ending."""
    return any(part.environment == environment and part.reason == NO_ENDING for part in verdict.suites)


def candidate_of(settings: Settings, image: str) -> Channel | None:
    """The candidate channel that points to an image in some Region."""
    candidates = (each for each in channels.every(settings.table) if each.name == CANDIDATE and each.current)
    return next((each for each in candidates if each.current and image in each.current.all), None)


def count(settings: Settings, channel: Channel, release: str, entry: Entry) -> tuple[str, ...]:
    """Counts a release for the image a channel points to; returns all that count for it. Another one that counts at
    the same time makes this fail, and the invocation is repeated."""
    images = Records(settings.table, Image)
    record = images.get(channel.image)
    passed = record.releases_passed if record else ()
    if release in passed:
        return passed
    now_passed = (*passed, release)[-_COUNTED:]
    counted = attr(Image.releases_passed)
    try:
        as_seen = counted.eq(list(passed)) if passed else counted.not_exists()
        images.change(channel.image, entry, releases_passed=now_passed, only_if=as_seen)
    except Conflict:
        raise CountedMeanwhile(f"another release than {release} was counted at the same time") from None
    return now_passed


def fails_more(settings: Settings, candidate: Channel, passed: Sequence[str]) -> str:
    """Why an image is left to a person, because its instances fail more often than those of the image that stable has
    now; "" where they do not. Counted are the releases that passed on each."""
    stable = channels.read(settings.table, candidate.family, STABLE)
    if stable.current is None or stable.image == candidate.image:
        return ""
    before = Records(settings.table, Image).get(stable.image)
    ours, theirs = _lost(settings, passed), _lost(settings, before.releases_passed if before else ())
    if not is_worse(ours, theirs):
        return ""
    return f"{candidate.image} is left to a person: {ours}; on {stable.image}, {theirs}"


def _lost(settings: Settings, releases: Sequence[str]) -> Losses:
    """The instances that failed in the environments of releases."""
    found = Records(settings.table, Release).many(releases[-_COMPARED:])
    return together(one.instance_failures for one in found if one.instance_failures)
