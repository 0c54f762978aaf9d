"""What may be read. A list is a query of an index, or one a day; what that names is read a hundred at a time."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Annotated, Any

import answers
from asking import caller_of, now_of
from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from shapes import (
    Applications,
    Costs,
    Days,
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
    WholeEnvironment,
    WholeRelease,
)

from mayfly.aws import catalogue, channels, reports, switch
from mayfly.aws.records import Kind, Records
from mayfly.domain.channel import CANDIDATE, STABLE, Channel, Pointed
from mayfly.domain.cost import by_application, list_prices
from mayfly.domain.moment import text
from mayfly.domain.reach import Running, measure
from mayfly.messages import ApplicationName, Identity, Refused
from mayfly.settings import settings

router = Router()

type Json = dict[str, Any]
Digits = Annotated[str, Path(pattern=r"^\d{2,4}$")]
RunAt = Annotated[str, Path(pattern=r"^\d{6}-[0-9a-f]{8}$")]
Back = Annotated[Days, Query(description="How many days to look back; the day is UTC's.")]


def records(kind: Kind) -> Records:
    """The records of a kind."""
    return Records(settings().table, kind)


def the(kind: Kind, identity: str) -> Json:
    """The record of this name.

    Raises:
        NotFoundError: there is none.
    """
    if record := records(kind).get(identity):
        return record | {"id": identity}  # one that was lost, and begun anew by a later step, does not say it
    raise NotFoundError(f"{kind}: expected one that Mayfly knows, but it is '{identity}'")


def recent(kind: Kind, days: int, fields: Iterable[str]) -> list[Json]:
    """The records that began within the last `days` times 24 hours, the newest first."""
    now = now_of(router)
    found = [
        one for one in records(kind).recent(now, days, [*fields]) if begun(one) >= text(now - timedelta(days=days))
    ]
    return sorted(found, key=begun, reverse=True)


def begun(record: Json) -> str:
    """When a record's story began."""
    return str(record["planned_at"] if "planned_at" in record else record["history"][0]["at"])


def by_id(found: Iterable[Json]) -> dict[str, Json]:
    """Records by their names."""
    return {record["id"]: record for record in found}


@router.get("/api/me", summary="Who the token speaks for")
def me() -> Me:
    """Name, role and the applications that one is a developer of."""
    caller = caller_of(router)
    return {
        "who": caller.who,
        "role": str(caller.role),  # type: ignore[typeddict-item]  # it is one of these words
        "applications": [*caller.applications],
        "now": text(now_of(router)),
    }


@router.get("/api/environments", compress=True, summary="Environments, the latest first")
def environments(
    live: bool = True, days: Back = 1, application: ApplicationName | None = None, release: Identity | None = None
) -> Environments:
    """Those that live, or (`live=false`) those that began in the last days and are gone."""
    found: Iterable[Json]
    if release:
        names = [part["environment"] for part in (records("release").get(release) or {}).get("suites", [])]
        found = records("environment").many(names, answers.ENVIRONMENT)
    elif live:
        found = records("environment").live(answers.ENVIRONMENT)
    else:
        found = recent("environment", days, answers.ENVIRONMENT)
    now = now_of(router)
    here = (one for one in found if "id" in one and ("live" in one) == live)
    chosen = [one for one in here if application in (None, one.get("application"))]
    shown = [answers.environment(one, now, list_prices()) for one in chosen]
    return {"now": text(now), "environments": sorted(shown, key=lambda one: one["planned_at"], reverse=True)}


@router.get("/api/environments/<id>", summary="An environment with all that is known of it")
def environment(id: Annotated[Identity, Path()]) -> WholeEnvironment:  # noqa: A002 - the path's own name
    """With its history, its outputs, what was kept of it, and where AWS's console shows it."""
    shown: WholeEnvironment = answers.whole_environment(
        the("environment", id), now_of(router), list_prices(), settings().environment_machine
    )
    return shown


@router.get("/api/releases", compress=True, summary="Releases, the newest first")
def releases(days: Back = 7, application: ApplicationName | None = None) -> Releases:
    """Those that were pushed in the last days, with their suites' outcomes."""
    found = [one for one in recent("release", days, answers.RELEASE) if application in (None, one["application"])]
    names = [part["environment"] for one in found for part in one.get("suites", [])]
    known = by_id(records("environment").many(names, answers.ENVIRONMENT))
    now = now_of(router)
    return {"now": text(now), "releases": [answers.release(one, known, now, list_prices()) for one in found]}


@router.get("/api/releases/<id>", compress=True, summary="A release with all that is known of it")
def release(id: Annotated[Identity, Path()]) -> WholeRelease:  # noqa: A002
    """With its history and its environments."""
    found = the("release", id)
    names = [part["environment"] for part in found.get("suites", [])]
    known = by_id(records("environment").many(names, answers.ENVIRONMENT))
    shown: WholeRelease = answers.whole_release(found, known, now_of(router), list_prices())
    return shown


@router.get("/api/applications", compress=True, summary="Applications, by name")
def applications() -> Applications:
    """As they are configured. One that is configured wrongly comes with the problem."""
    found = catalogue.applications(settings().parameters)
    return {"applications": [answers.application(name, one) for name, one in sorted(found, key=lambda pair: pair[0])]}


@router.get("/api/images", compress=True, summary="Image families, by name")
def images(days: Back = 7) -> Images:
    """With their channels and how far those have got, their images, and the bakes of the last days."""
    configured = dict(catalogue.families(settings().parameters))
    baked = by_id(recent("bake", days, answers.BAKE))
    made = sorted(records("image").live(answers.IMAGE), key=begun, reverse=True)
    reached = list(reaches(name for name, one in configured.items() if not isinstance(one, Refused)))
    names = configured.keys() | {one["family"] for one in (*baked.values(), *made)} | {family for family, _ in reached}
    families: list[answers.Shown] = []
    for name in sorted(names):
        wrong = configured.get(name)
        families.append(
            {
                "family": name,
                "channels": [channel for family, channel in reached if family == name],
                "images": [answers.image(one, baked) for one in made if one["family"] == name],
                "bakes": [answers.bake(one) for one in baked.values() if one["family"] == name],
                **({"problem": str(wrong)} if isinstance(wrong, Refused) else {}),
            }
        )
    return {"now": text(now_of(router)), "families": families}


def reaches(families: Iterable[str]) -> Iterator[tuple[str, answers.Shown]]:
    """Each channel with its family, and how far its image has got by the records of living environments: measure_reach
    asks EC2 what really runs, which is too dear for a page that is looked at all day.

    Args:
        families: those whose channels are told of before they have moved for the first time.
    """
    running = [
        Running(str(one.get("image")), one.get("channel") or "")
        for one in records("environment").live(answers.RUNNING)
        for _ in range(one.get("instances_built", 0))
    ]
    kept = {record["id"]: record for record in records("channel").live()}
    found = {f"{family}/{name}": Channel(family, name) for family in families for name in (CANDIDATE, STABLE)}
    found |= by_hand(settings().parameters) | {name: channels.of_record(record) for name, record in kept.items()}
    for name, channel in sorted(found.items()):
        reach = measure(channel, running, (), now_of(router))
        yield channel.family, answers.channel(reach, kept.get(name, {}))


def by_hand(parameters: str) -> dict[str, Channel]:
    """The channels that a parameter says, whoever wrote it."""
    found = {}
    for parameter, image in channels.own_parameters(parameters).items():
        family, _, name = parameter.removeprefix(f"{parameters}/images/").partition("/")
        found[f"{family}/{name}"] = Channel(family, name, current=Pointed(image))
    return found


@router.get("/api/services", summary="Permanent environments, by name")
def services() -> Services:
    """With what runs in them, and what was changed by hand."""
    found = sorted(records("service").live(), key=lambda one: str(one["id"]))
    return {"now": text(now_of(router)), "services": [answers.service(one) for one in found]}


@router.get("/api/rollouts", compress=True, summary="Rollouts, the newest first")
def rollouts(days: Back = 30) -> Rollouts:
    """Those that began in the last days."""
    found = by_id([*recent("rollout", days, ()), *records("rollout").live()])
    newest = sorted(found.values(), key=begun, reverse=True)
    return {"now": text(now_of(router)), "rollouts": [answers.rollout(one) for one in newest]}


@router.get("/api/rollouts/<id>", summary="A rollout with all that is known of it")
def rollout(id: Annotated[Identity, Path()]) -> Rollout:  # noqa: A002
    """With its checkpoints and history."""
    shown: Rollout = answers.rollout(the("rollout", id))
    return shown


@router.get("/api/sweeps", summary="Sweeps, the newest first")
def sweeps(days: Back = 1) -> Sweeps:
    """What each came to. Its report is at `/api/` and its key, without the ending."""
    found = recent("sweep", days, answers.SWEEP)
    return {"now": text(now_of(router)), "sweeps": [answers.sweep(one) for one in found]}


@router.get("/api/sweeps/<year>/<month>/<day>/<time>", compress=True, summary="A sweep's whole report")
def sweep(year: Digits, month: Digits, day: Digits, time: RunAt) -> Report:
    """Every decision with its reason."""
    key = f"sweeps/{year}/{month}/{day}/{time}.json"
    if report := reports.read(settings().reports, key):
        return report  # type: ignore[return-value]  # as the sweep wrote it
    raise NotFoundError(f"report: expected one that is kept, but it is '{key}'")


@router.get("/api/kill-switch", summary="The kill switch")
def kill_switch() -> SwitchState:
    """While it is on, nothing is destroyed."""
    said = switch.read(settings().parameters)
    return {"on": said != switch.OFF, "why": "" if said == switch.OFF else said}


@router.get("/api/costs", summary="What environments cost")
def costs(days: Back = 7) -> Costs:
    """Those that began in the last days, whether they live or not, at list prices."""
    now, prices = now_of(router), list_prices()
    found = recent("environment", days, answers.ENVIRONMENT)
    used = {"as_of": prices.as_of, "source": prices.source, "currency": prices.currency}
    return {"now": text(now), "prices": used, **by_application(found, now, prices)}  # type: ignore[typeddict-item]
