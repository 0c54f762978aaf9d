"""Releases: planned as one order a suite, judged by the records of their environments, counted for their image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from mayfly import contract
from mayfly.aws.events import announce
from mayfly.aws.records import Conflict, Records, attr, forget_after
from mayfly.contract.announcements import ReleaseFailed, ReleasePassed
from mayfly.contract.orders import Blueprint, Order, Place
from mayfly.contract.reader import Refused
from mayfly.contract.vocabulary import ReleaseStage, SuiteKind
from mayfly.domain import superseding
from mayfly.domain.channel import CANDIDATE, STABLE, Channel
from mayfly.domain.ending import NO_ENDING, by_failure, judge_release, result_of
from mayfly.domain.identity import environment_id, repetitions
from mayfly.domain.losses import Losses, is_worse, together
from mayfly.domain.needs import Needs
from mayfly.domain.records import Entry, Environment, Image, Release, Suite, Verdict, plain
from mayfly.settings import Settings
from mayfly.workflows import admission, catalogue, channels, quotas

if TYPE_CHECKING:
    from mayfly.contract.configuration import Application
    from mayfly.contract.requests import CodeVersionPushed

_PUSHED = ("application", "version", "artifact", "commit", "pull_request", "attempt")

_COMPARED = 100
"""Releases that are read to compare two images: the latest that passed on each."""
_COUNTED = 1000
"""Releases that are remembered of an image: as many as a policy can ask for."""


class CountedMeanwhile(Exception):
    """Somebody else counted. Repeating it counts this one too."""


def plan(settings: Settings, release: str, pushed: CodeVersionPushed) -> list[Order]:
    """One order for each suite of the application's test plan but its preview, all on one image and one blueprint.

    Raises:
        Refused: the platform team configured something wrongly.
    """
    application = catalogue.application(settings.parameters, pushed.application)
    return _orders(settings, release, pushed, application)


def plan_preview(settings: Settings, release: Release) -> Order | None:
    """The order for the preview of a release, on its image; None where its application wants none.

    Raises:
        Refused: the platform team configured something wrongly.
    """
    application = catalogue.application(settings.parameters, release.application)
    if all(suite.kind is not SuiteKind.PREVIEW for suite in application.suites):
        return None
    model = contract.requests.CodeVersionPushed
    pushed = model.read({name: each for name, each in plain(release).items() if name in model.model_fields})
    [order] = _orders(settings, release.id, pushed, application, previews=True)
    return replace(order, image=release.image)


def _orders(
    settings: Settings, release: str, pushed: CodeVersionPushed, application: Application, previews: bool = False
) -> list[Order]:
    targets = catalogue.targets(settings, application)
    building = catalogue.environment(settings, application, targets[0][1])
    images = catalogue.images(settings, application, [region for _, region in targets]) if building["image"] else {}
    places = [
        (
            Place(
                account=account,
                region=region,
                image=images.get(region),
                parameters=application.differing(account, region),
            ),
            _needs(settings, building, application, (account, region)),
        )
        for account, region in targets
    ]
    if pushed.hotfix and not application.hotfixes:
        raise Refused(f"hotfix: expected false, because {pushed.application} is not allowed hotfixes, but it is true")
    limits = catalogue.admission(settings.parameters)
    asked, best = admission.demand(application, pushed.application, limits, places, pushed.hotfix)
    blueprint = Blueprint.read(building["blueprint"])
    pool = catalogue.pool(settings.parameters, application.pool)
    return [
        Order(
            environment=environment_id(release, suite.name),
            release=release,
            suite=suite.name,
            kind=suite.kind,
            runner=suite.runner.model_dump(mode="json") if suite.runner else None,
            repetitions=repetitions(environment_id(release, suite.name), suite.retries),
            pool=pool,
            demand=asked,
            account=best.account,
            region=best.region,
            **building | {"image": best.image, "blueprint": blueprint},
            **pushed.model_dump(include={"application", "version", "artifact", "commit", "pull_request", "branch"}),
            **application.model_dump(
                include={"owner", "owner_topic", "parameters", "lifetime_minutes"}
                | {"ceiling_minutes", "warn_minutes_before", "most_extensions"}
            ),
        )
        for suite in application.suites
        if (suite.kind is SuiteKind.PREVIEW) == previews
    ]


def _needs(settings: Settings, building: dict[str, Any], application: Application, target: tuple[str, str]) -> Needs:
    """What one environment takes at a target: as its template says, corrected by what the last one had."""
    parameters = application.told(*target)
    told = building | {"parameters": parameters, "pool": application.pool}
    needs = catalogue.needs(settings.blueprints, told, target)
    return quotas.correct(settings.table, needs, building, parameters)


def remember_plan(settings: Settings, release: str, orders: list[Order], entry: Entry) -> Release | None:
    """Writes down which environments a release has, and what all of them consist of. Returns its record."""
    suites = tuple(Suite(order.suite, order.environment, order.repetitions) for order in orders)
    any_of = orders[0]
    template = any_of.blueprint
    return Records(settings.table, Release).change(
        release,
        entry,
        stage=ReleaseStage.RUNNING,
        image=any_of.image,
        images=tuple(dict.fromkeys(each.image for each in any_of.demand.places if each.image)) or None,
        blueprint=f"{template.key} {template.version_id}" if template.version_id else template.key,
        parameters=any_of.told,
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
    names = [name for part in suites for name in part.attempts]
    known = {each.id: each for each in Records(settings.table, Environment).many(names)}
    results = [result_of(part, {name: each.ending for name, each in known.items()}) for part in suites]
    verdict = judge_release(results, together(it.losses for it in known.values() if it.losses))
    by = record.superseded_by if record and not verdict.passed else None
    return replace(verdict, reason=superseding.reason(by)) if by else verdict


def remember_verdict(
    settings: Settings, release: str, verdict: Verdict, entry: Entry, stays_open: bool = False
) -> None:
    """Records a release's verdict, and the instances that failed in its environments.

    Args:
        stays_open: whether the record stays open until the verdict is announced. What finds it open without an
            execution announces it then: `make_up`.
    """
    stage = ReleaseStage.PASSED if verdict.passed else ReleaseStage.FAILED
    releases = Records(settings.table, Release)
    record = releases.get(release)
    built = [name for part in record.suites for name in part.attempts] if record else []
    found = Records(settings.table, Environment).many(built)
    lost = together(one.losses for one in found if one.losses)
    releases.change(
        release,
        entry,
        stage=stage,
        verdict=verdict,
        instance_failures=lost,
        forget_after=forget_after(entry.at, settings.record_days),
        drop=() if stays_open else (Release.live,),
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
        _announce(settings, release, verdict)
    entry = Entry(entry_at, "judge_release", "judged again", verdict.reason)
    remember_verdict(settings, release.id, verdict, entry)


def make_up(settings: Settings, release: Release, at: str) -> None:
    """Judges a release whose execution is gone, if no environment of it goes on, and announces its verdict; the record
    says whether somebody has done so. It is closed last: who dies in between announces it again."""
    verdict = release.verdict
    if verdict is None:
        names = [name for suite in release.suites for name in suite.attempts]
        of_suites = Records(settings.table, Environment).many(names)
        if any(one.live and not one.ending for one in of_suites):
            return
        verdict = verdict_of(settings, release.id)
        entry = Entry(at, "sweep", "judged", f"no execution does: {verdict.reason}")
        remember_verdict(settings, release.id, verdict, entry, stays_open=True)
    _announce(settings, release, verdict)
    Records(settings.table, Release).change(release.id, drop=(Release.live,))


def _announce(settings: Settings, release: Release, verdict: Verdict) -> None:
    said = {name: each for name, each in plain(release).items() if name in _PUSHED}
    announcement = ReleasePassed if verdict.passed else ReleaseFailed
    announce(settings.facts, announcement(release=release.id, **said, **plain(verdict)))


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
