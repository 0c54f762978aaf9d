"""What may be read."""

from typing import Annotated, cast

from asking import caller_of, now_of
from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from shapes import (
    Applications,
    BlueprintToCheck,
    CheckedBlueprint,
    Configuration,
    Costs,
    Days,
    DeadLetters,
    Differences,
    Environments,
    Images,
    Me,
    Releases,
    Report,
    Rollout,
    Rollouts,
    Services,
    Sweeps,
    SwitchState,
    WholeDeadLetter,
    WholeEnvironment,
    WholeRelease,
)

from mayfly import views
from mayfly.aws import reports
from mayfly.contract.fields import ApplicationName, DeadLetterId, Identity, ImageId
from mayfly.contract.reader import Refused
from mayfly.domain.records import DeadLetter, Environment, Record, Release
from mayfly.domain.records import Rollout as RolloutRecord
from mayfly.domain.timestamp import utc_text
from mayfly.prices import list_prices
from mayfly.settings import load_settings
from mayfly.workflows import catalogue, examination, image_contents
from mayfly.workflows.dead_letters import key_of as dead_letter_key
from mayfly.workflows.reading import Reading

router = Router()

Digits = Annotated[str, Path(pattern=r"^\d{2,4}$")]
RunAt = Annotated[str, Path(pattern=r"^\d{6}-[0-9a-f]{8}$")]
Back = Annotated[Days, Query(description="How many days to look back; the day is UTC's.")]


def reading() -> Reading:
    """One look at what is recorded, at the time of the request."""
    settings = load_settings()
    return Reading(settings.table, settings.parameters, now_of(router))


def the[R: Record](kind: type[R], identity: str) -> R:
    """The record of this name.

    Raises:
        NotFoundError: there is none.
    """
    if record := reading().records(kind).get(identity):
        return record
    raise NotFoundError(f"{kind.kind}: expected one that Mayfly knows, but it is '{identity}'")


@router.get("/api/me", summary="Who the token speaks for")
def me() -> Me:
    """Name, role and the applications that one is a developer of."""
    caller = caller_of(router)
    return {
        "who": caller.who,
        "role": str(caller.role),  # type: ignore[typeddict-item]  # it is one of these words
        "applications": [*caller.applications],
        "now": utc_text(now_of(router)),
    }


@router.get("/api/environments", compress=True, summary="Environments, the latest first")
def environments(
    live: bool = True, days: Back = 1, application: ApplicationName | None = None, release: Identity | None = None
) -> Environments:
    """Those that live, or (`live=false`) those that began in the last days and are gone."""
    shown: Environments = reading().environments(live, days, application, release)
    return shown


@router.get("/api/environments/<id>", summary="An environment with all that is known of it")
def environment(id: Annotated[Identity, Path()]) -> WholeEnvironment:  # noqa: A002 - the path's own name
    """With its history, its outputs, what was kept of it, and where AWS's console shows it."""
    shown: WholeEnvironment = views.whole_environment(
        the(Environment, id), now_of(router), list_prices(), load_settings().environment_machine
    )
    return shown


@router.get("/api/releases", compress=True, summary="Releases, the newest first")
def releases(days: Back = 7, application: ApplicationName | None = None) -> Releases:
    """Those that were pushed in the last days, with their suites' outcomes."""
    shown: Releases = reading().releases(days, application)
    return shown


@router.get("/api/releases/<id>", compress=True, summary="A release with all that is known of it")
def release(id: Annotated[Identity, Path()]) -> WholeRelease:  # noqa: A002
    """With its history and its environments."""
    shown: WholeRelease = reading().whole_release(the(Release, id))
    return shown


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
def images(days: Back = 7) -> Images:
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
def sweeps(days: Back = 1) -> Sweeps:
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
def costs(days: Back = 7) -> Costs:
    """Those that began in the last days, whether they live or not, at list prices."""
    shown: Costs = reading().costs(days)
    return shown
