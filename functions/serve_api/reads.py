"""What may be read."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, cast
from urllib.parse import quote

from asking import caller_of, now_of
from aws_lambda_powertools.event_handler.api_gateway import Response, Router
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from pydantic import AfterValidator
from shapes import (
    Applications,
    BlueprintToCheck,
    CheckedBlueprint,
    Configuration,
    ConsoleOutput,
    Costs,
    Days,
    DeadLetters,
    Differences,
    Environments,
    History,
    Images,
    Me,
    ReleaseDifferences,
    Releases,
    Report,
    Rollout,
    Rollouts,
    Services,
    Sweeps,
    SwitchState,
    WholeBake,
    WholeDeadLetter,
    WholeEnvironment,
    WholeRelease,
)

from mayfly import views
from mayfly.aws import reports
from mayfly.contract.fields import ApplicationName, DeadLetterId, Identity, ImageId
from mayfly.contract.reader import Refused
from mayfly.domain.history import Line, Period, as_csv
from mayfly.domain.records import Bake, DeadLetter, Environment, Fleet, Record, Release
from mayfly.domain.records import Rollout as RolloutRecord
from mayfly.domain.text import clean_lines
from mayfly.domain.timestamp import utc_text
from mayfly.prices import list_prices
from mayfly.settings import load_settings
from mayfly.workflows import bakes, catalogue, consoles, examination, image_contents
from mayfly.workflows.dead_letters import key_of as dead_letter_key
from mayfly.workflows.reading import PAGE, RELEASES_PAGE, Reading, Wanted

router = Router()

Digits = Annotated[str, Path(pattern=r"^\d{2,4}$")]
RunAt = Annotated[str, Path(pattern=r"^\d{6}-[0-9a-f]{8}$")]
Word = Annotated[str, Query(max_length=256)]
AfterPlace = Annotated[
    str, Query(pattern=r"^([0-9TZ:.-]{0,30}#[A-Za-z0-9._-]{1,100})?$", description="The `next` of the page before.")
]
Most = Annotated[int, Query(ge=1, le=PAGE, description="How many of a page.")]
FewAtMost = Annotated[int, Query(ge=1, le=RELEASES_PAGE, description="How many of a page.")]
Back = Annotated[Days, Query(description="How many days to look back; the day is UTC's.")]
Kept = Annotated[Back, AfterValidator(lambda days: min(days, load_settings().record_days))]
"""The same, as far as records are kept: each day before would be asked for in vain, on every shelf."""


Since = Annotated[
    datetime | None, Query(description="The first moment of the period; a week ago where it is left out.")
]
Until = Annotated[datetime | None, Query(description="The first moment after it; now where it is left out.")]
AS_CSV: Any = {200: {"description": "The lines", "content": {"text/csv": {"schema": {"type": "string"}}}}}
WEEK = timedelta(days=7)
TEXT_SHOWN = 300_000
"""Bytes of a log that are shown: an answer may have 6 MB."""
After = Annotated[str | None, Query(max_length=256, description="`next` of the part before.")]


def period(since: datetime | None, until: datetime | None) -> Period:
    """Reads the period of a request's query: the last week where it names none."""
    now = now_of(router)
    begins, ends = (each if each.tzinfo else each.replace(tzinfo=UTC) for each in (since or now - WEEK, until or now))
    return Period(utc_text(begins), utc_text(ends))


def reading() -> Reading:
    """One look at what is recorded, at the time of the request."""
    settings = load_settings()
    return Reading(settings.table, settings.parameters, now_of(router))


def the[R: Record](kind: type[R], identity: str) -> R:
    """Returns the record of this name.

    Raises:
        NotFoundError: there is none.
    """
    if record := reading().records(kind).get(identity):
        return record
    raise NotFoundError(f"{kind.kind}: expected one that Mayfly knows, but it is '{identity}'")


@router.get("/api/me", summary="Who the token speaks for")
def me() -> Me:
    """Name, role, the applications that one develops, and those of them that one owns."""
    caller = caller_of(router)
    return {
        "who": caller.who,
        "role": str(caller.role),  # type: ignore[typeddict-item]  # it is one of these words
        "applications": [*caller.applications],
        "owned": [*caller.owned],
        "now": utc_text(now_of(router)),
    }


@router.get("/api/environments", compress=True, summary="Environments, the latest first")
def environments(  # noqa: PLR0913 - the query's parameters
    live: bool = True,
    days: Kept = 1,
    application: ApplicationName | None = None,
    release: Identity | None = None,
    stage: Word | None = None,
    owner: Word | None = None,
    only: Literal["verdict", "late"] | None = None,
    text: Word = "",
    after: AfterPlace = "",
    most: Most = PAGE,
) -> Environments:
    """A page of those that live, or (`live=false`) of those that ended in the last days. `next` is the `after` of the
    next page. A page that is asked for few of many may be short, or empty, and have a `next`."""
    wanted = Wanted(live, days, application, release, stage, owner, only, text)
    shown: Environments = reading().environments(wanted, after, most)
    return shown


@router.get("/api/environments/<id>", summary="An environment with all that is known of it")
def environment(id: Annotated[Identity, Path()]) -> WholeEnvironment:  # noqa: A002 - the path's own name
    """With its history, its outputs, what was kept of it, and where AWS's console shows it."""
    record, fleet = the(Environment, id), reading().records(Fleet).get(id)
    machine = load_settings().environment_machine
    shown: WholeEnvironment = views.whole_environment(record, fleet, now_of(router), list_prices(), machine)
    return shown


@router.get("/api/environments/<id>/instances/<instance>/console", compress=True, summary="What an instance prints")
def console_output(
    id: Annotated[Identity, Path()],  # noqa: A002
    instance: Annotated[str, Path(pattern=r"^i-[0-9a-f]{8,17}$")],
) -> ConsoleOutput:
    """What EC2 has of its console: the boot's messages, and what its scripts print. EC2 keeps it for an hour after its
    end."""
    try:
        found = consoles.read(load_settings(), the(Environment, id), instance)
    except consoles.NotReadable as why:
        raise NotFoundError(str(why)) from None
    return {"environment": id, "instance": instance, "output": clean_lines(found)}


@router.get("/api/releases", compress=True, summary="Releases, the newest first")
def releases(
    days: Kept = 7, application: ApplicationName | None = None, after: AfterPlace = "", most: FewAtMost = RELEASES_PAGE
) -> Releases:
    """A page of those that were pushed in the last days, with their suites' outcomes. `next` is the `after` of the next
    page."""
    shown: Releases = reading().releases(days, application, after, most)
    return shown


@router.get("/api/releases/<id>", compress=True, summary="A release with all that is known of it")
def release(id: Annotated[Identity, Path()]) -> WholeRelease:  # noqa: A002
    """With its history and its environments."""
    shown: WholeRelease = reading().whole_release(the(Release, id))
    return shown


@router.get("/api/releases/<id>/since/<before>", compress=True, summary="How a release differs from another one")
def release_differences(id: Annotated[Identity, Path()], before: Annotated[Identity, Path()]) -> ReleaseDifferences:  # noqa: A002
    """What was pushed, the image and what it consists of, the blueprint and its parameters."""
    shown: ReleaseDifferences = reading().compared(the(Release, before), the(Release, id), load_settings().reports)
    return shown


@router.get("/api/history", compress=True, summary="Who did what, when and why, in a period")
def history(
    since: Since = None, until: Until = None, application: ApplicationName | None = None, after: After = None
) -> History:
    """Over all records, the lines of a part of them at once: go on with `after` as long as there is a `next`."""
    shown: History = reading().evidence(period(since, until), application, after)
    return shown


@router.get("/api/history.csv", compress=True, summary="The same as CSV", responses=AS_CSV)
def history_as_csv(
    since: Since = None, until: Until = None, application: ApplicationName | None = None, after: After = None
) -> Response[str]:
    """The header `X-Next`, where there is one, is what to ask `after` for the next part."""
    shown = reading().evidence(period(since, until), application, after)
    more = {"X-Next": quote(shown["next"], safe="")} if "next" in shown else {}
    return Response(200, "text/csv; charset=utf-8", as_csv(Line(**line) for line in shown["lines"]), more)


@router.get("/api/applications", compress=True, summary="Applications, by name")
def applications() -> Applications:
    """As they are configured. One that is configured wrongly comes with the problem."""
    found = catalogue.applications(load_settings().parameters)
    return {"applications": [views.application(name, one) for name, one in sorted(found, key=lambda pair: pair[0])]}


@router.post("/api/blueprints/check", compress=True, summary="Examine a template before it is a blueprint")
def check_blueprint(asked: BlueprintToCheck) -> CheckedBlueprint:
    """What of it would fail, collide between two environments, or outlive them, and on which line. It changes nothing;
    developers and operators may ask."""
    try:
        found = examination.examined(load_settings(), asked.template, asked.application)
    except Refused as refusal:
        raise NotFoundError(str(refusal)) from None
    return cast(CheckedBlueprint, found)


@router.get("/api/applications/<name>/configuration", compress=True, summary="An application's configuration")
def configuration(name: Annotated[ApplicationName, Path()]) -> Configuration:
    """With its versions, who wrote each, and why."""
    shown: Configuration = reading().configuration(name)
    return shown


@router.get("/api/images", compress=True, summary="Image families, by name")
def images(days: Kept = 7) -> Images:
    """With their channels and how far those have got, their images, and the bakes of the last days."""
    shown: Images = reading().images(days)
    return shown


@router.get("/api/images/<image>/since/<before>", compress=True, summary="How an image differs from another one")
def differences(image: Annotated[ImageId, Path()], before: Annotated[ImageId, Path()]) -> Differences:
    """Packages, enabled services, and the files that Puppet manages."""
    try:
        found = image_contents.differences(load_settings().reports, before, image)
    except image_contents.NotRecorded as unknown:
        raise NotFoundError(str(unknown)) from None
    return cast(Differences, found)


@router.get("/api/bakes/<id>", compress=True, summary="A bake with all that is known of it")
def bake(id: Annotated[Identity, Path()]) -> WholeBake:  # noqa: A002
    """With the end of its log, and of the builder's console where it failed."""
    bucket, record = load_settings().reports, the(Bake, id)
    log, console = (
        found.decode(errors="replace") if (found := reports.read_raw(bucket, key, TEXT_SHOWN)) else None
        for key in (bakes.log_key(id), bakes.console_key(id))
    )
    shown: WholeBake = views.whole_bake(record, log, console)
    return shown


@router.get("/api/services", summary="Permanent environments, by name")
def services() -> Services:
    """With what runs in them, and what was changed by hand."""
    shown: Services = reading().services()
    return shown


@router.get("/api/rollouts", compress=True, summary="Rollouts, the newest first")
def rollouts(days: Back = 30) -> Rollouts:
    """Those that began in the last days."""
    shown: Rollouts = reading().rollouts(days)
    return shown


@router.get("/api/rollouts/<id>", summary="A rollout with all that is known of it")
def rollout(id: Annotated[Identity, Path()]) -> Rollout:  # noqa: A002
    """With its checkpoints and history."""
    shown: Rollout = views.rollout(the(RolloutRecord, id))
    return shown


@router.get("/api/sweeps", summary="Sweeps, the newest first")
def sweeps(days: Kept = 1) -> Sweeps:
    """What each came to. Its report is at `/api/` and its key, without the ending."""
    shown: Sweeps = reading().sweeps(days)
    return shown


@router.get("/api/sweeps/<year>/<month>/<day>/<time>", compress=True, summary="A sweep's whole report")
def sweep(year: Digits, month: Digits, day: Digits, time: RunAt) -> Report:
    """Every decision with its reason."""
    key = f"sweeps/{year}/{month}/{day}/{time}.json"
    if report := reports.read(load_settings().reports, key):
        shown: Report = views.report(report)
        return shown
    raise NotFoundError(f"report: expected one that is kept, but it is '{key}'")


@router.get("/api/dead-letters", compress=True, summary="Dead letters that wait for a person")
def dead_letters() -> DeadLetters:
    """Counted by kind and reason, and one by one, the newest first."""
    shown: DeadLetters = reading().dead_letters()
    return shown


@router.get("/api/dead-letters/<id>", compress=True, summary="A dead letter with what is in it")
def dead_letter(id: Annotated[DeadLetterId, Path()]) -> WholeDeadLetter:  # noqa: A002
    """Whole, as its function was handed it, and its history."""
    record = the(DeadLetter, id)
    kept = reports.read(load_settings().reports, dead_letter_key(id)) or {}
    shown: WholeDeadLetter = views.whole_dead_letter(record, kept.get("message"))
    return shown


@router.get("/api/kill-switch", summary="The kill switch")
def kill_switch() -> SwitchState:
    """While it is on, nothing is destroyed."""
    shown: SwitchState = reading().kill_switch()
    return shown


@router.get("/api/costs", summary="What environments cost")
def costs(days: Kept = 7) -> Costs:
    """Those that live, or ended today or on one of the days (UTC) before, at list prices."""
    shown: Costs = reading().costs(days)
    return shown
