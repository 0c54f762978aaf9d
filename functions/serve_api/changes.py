"""What may be asked for. Nothing is decided here a second time: each request becomes the event that anybody else puts
on the bus, in the name of whom the token speaks for."""

import json
from typing import Annotated

from asking import caller_of, permit
from aws_lambda_powertools.event_handler.api_gateway import Router
from aws_lambda_powertools.event_handler.exceptions import ServiceError
from aws_lambda_powertools.event_handler.openapi.params import Path
from pydantic import BaseModel
from reads import reading, the
from shapes import (
    Accepted,
    AcceptedRelease,
    ApplicationWish,
    BakeWish,
    DeadLetterWish,
    Extension,
    Promotion,
    Push,
    Result,
    Rollback,
    RolloutWish,
    Sleeping,
    SweepWish,
    Switch,
    Termination,
    Why,
)

from mayfly.aws import events
from mayfly.contract.fields import ApplicationName, ChannelName, FamilyName, Identity, PullRequest
from mayfly.contract.messages import Request
from mayfly.contract.reader import Refused
from mayfly.contract.requests import (
    ApplicationChangeRequested,
    CodeVersionPushed,
    DeadLettersDiscardRequested,
    DeadLettersRedriveRequested,
    EnvironmentExtensionRequested,
    EnvironmentSleepRequested,
    EnvironmentTerminationRequested,
    EnvironmentWakeRequested,
    ImageBakeRequested,
    ImagePromotionRequested,
    ImageRollbackRequested,
    KillSwitchSet,
    PullRequestClosed,
    RolloutAbortRequested,
    RolloutApproved,
    RolloutPauseRequested,
    RolloutRequested,
    RolloutResumeRequested,
    SweepRequested,
    TestFinished,
)
from mayfly.contract.vocabulary import Source
from mayfly.domain.access import ApiAction
from mayfly.domain.ending import refusal_of
from mayfly.domain.identity import release_id
from mayfly.domain.records import Environment, Release, Rollout, Service
from mayfly.observability import logger
from mayfly.settings import load_settings
from mayfly.workflows import catalogue

router = Router()


def ask(message: Request, watch: str) -> Accepted:
    """Puts a message on the bus as everybody else does."""
    event = events.ask(load_settings().bus, message, Source.API)
    said = message.model_dump(mode="json", exclude_none=True, exclude={"token"})
    logger.info(
        "asked for",
        extra={"what": message.event, "detail": said, "event": event},
    )
    return {"accepted": True, "event": event, "watch": watch}


def of_own_application(environment: str) -> None:
    """Lets pass who may change this environment.

    Raises:
        NotFoundError: there is none. ForbiddenError: it is another application's.
    """
    permit(caller_of(router), ApiAction.CHANGE, the(Environment, environment).application)


def ask_of_own(environment: str, model: type[Request], asked: BaseModel) -> Accepted:
    """Puts a request about an environment on the bus, for who may change it.

    Args:
        model: the request. asked: what the body says of it.
    """
    of_own_application(environment)
    named = {"environment": environment, **asked.model_dump(), "requested_by": who()}
    return ask(model.model_validate(named), f"/api/environments/{environment}")


def of_owned_application(record: Rollout | Service) -> None:
    """Lets pass who may roll out what belongs to this application.

    Raises:
        ForbiddenError: it is another one's.
    """
    permit(caller_of(router), ApiAction.ROLL_OUT, record.application)


def who() -> str:
    """In whose name something is asked for."""
    return caller_of(router).who


@router.post("/api/releases", status_code=202, summary="Deploy: build and test a version")
def push(asked: Push) -> AcceptedRelease:
    """An environment is built for each suite of the application's test plan."""
    permit(caller_of(router), ApiAction.CHANGE, asked.application)
    release = release_id(asked.application, asked.version, asked.attempt)
    if reading().records(Release).get(release):
        raise ServiceError(
            409,
            f"attempt: {asked.application} {asked.version} is released already as attempt {asked.attempt} ({release}); "
            f"to run it again, send attempt {asked.attempt + 1}",
        )
    message = CodeVersionPushed(**asked.model_dump(), pushed_by=who())
    return {**ask(message, f"/api/releases/{release}"), "release": release}


@router.post("/api/environments/<id>/extension", status_code=202, summary="Keep an environment for longer")
def extend(id: Annotated[Identity, Path()], asked: Extension) -> Accepted:  # noqa: A002
    """Moves its deadline, up to its ceiling."""
    return ask_of_own(id, EnvironmentExtensionRequested, asked)


@router.post("/api/environments/<id>/termination", status_code=202, summary="End an environment now")
def terminate(id: Annotated[Identity, Path()], asked: Termination) -> Accepted:  # noqa: A002
    """Whatever it waits for; or once more, where its teardown was handed over to a person."""
    return ask_of_own(id, EnvironmentTerminationRequested, asked)


@router.post("/api/environments/<id>/sleep", status_code=202, summary="Have an environment sleep")
def put_to_sleep(id: Annotated[Identity, Path()], asked: Sleeping) -> Accepted:  # noqa: A002
    """One of a manual suite: its instances end, all the rest of it stays."""
    return ask_of_own(id, EnvironmentSleepRequested, asked)


@router.post("/api/environments/<id>/waking", status_code=202, summary="Have an environment awake")
def wake(id: Annotated[Identity, Path()], asked: Sleeping) -> Accepted:  # noqa: A002
    """It has as many instances as before; they boot as they did first."""
    return ask_of_own(id, EnvironmentWakeRequested, asked)


@router.post("/api/environments/<id>/result", status_code=202, summary="A suite's verdict")
def finish(id: Annotated[Identity, Path()], asked: Result) -> Accepted:  # noqa: A002
    """Ends the environment: its tests are over."""
    of_own_application(id)
    if refusal := refusal_of(the(Environment, id), asked.outcome, asked.token, by_person=True):
        raise ServiceError(409, refusal)
    message = TestFinished(environment=id, **asked.model_dump(), finished_by=who())
    return ask(message, f"/api/environments/{id}")


@router.post(
    "/api/pull-requests/<application>/<number>/closing", status_code=202, summary="End what shows a pull request"
)
def close(
    application: Annotated[ApplicationName, Path()], number: Annotated[PullRequest, Path()], asked: Why
) -> Accepted:
    """Its preview goes, and its address."""
    permit(caller_of(router), ApiAction.CHANGE, application)
    message = PullRequestClosed(application=application, pull_request=number, why=asked.why, closed_by=who())
    return ask(message, "/api/environments")


@router.put("/api/applications/<name>/configuration", status_code=202, summary="Configure an application, or remove it")
def configure(name: Annotated[ApplicationName, Path()], asked: ApplicationWish) -> Accepted:
    """Where nobody else has changed it since the version that was looked at."""
    now_there = reading().configuration(name)["version"]
    if asked.made_from != now_there:
        raise ServiceError(409, f"made_from: expected {now_there}, which is the newest, but it is {asked.made_from}")
    if asked.document is None and not now_there:
        raise ServiceError(409, f"document: expected one, because there is no application {name}, but it is null")
    try:
        document = None if asked.document is None else json.loads(catalogue.checked(load_settings(), asked.document))
    except Refused as refusal:
        raise ServiceError(409, str(refusal)) from None
    message = ApplicationChangeRequested(
        application=name, document=document, made_from=asked.made_from, why=asked.why, requested_by=who()
    )
    return ask(message, f"/api/applications/{name}/configuration")


@router.post("/api/bakes", status_code=202, summary="Bake an image")
def bake(asked: BakeWish) -> Accepted:
    """A new image of a family, now."""
    return ask(ImageBakeRequested(**asked.model_dump(), requested_by=who()), "/api/images")


@router.post("/api/channels/<family>/<channel>/promotion", status_code=202, summary="Point a channel to an image")
def promote(
    family: Annotated[FamilyName, Path()], channel: Annotated[ChannelName, Path()], asked: Promotion
) -> Accepted:
    """In all Regions at once."""
    target = {"family": family, "channel": channel}
    message = ImagePromotionRequested(**target, **asked.model_dump(), requested_by=who())
    return ask(message, "/api/images")


@router.post(
    "/api/channels/<family>/<channel>/rollback", status_code=202, summary="Point a channel to the image before"
)
def roll_back(
    family: Annotated[FamilyName, Path()], channel: Annotated[ChannelName, Path()], asked: Rollback
) -> Accepted:
    """Name the image to get away from: the same request a second time then goes no further back."""
    target = {"family": family, "channel": channel}
    message = ImageRollbackRequested(**target, **asked.model_dump(), requested_by=who())
    return ask(message, "/api/images")


@router.post("/api/rollouts/<id>/approval", status_code=202, summary="Let a rollout begin")
def approve(id: Annotated[Identity, Path()], asked: Why) -> Accepted:  # noqa: A002
    """One that waits for a person."""
    of_owned_application(the(Rollout, id))
    message = RolloutApproved(rollout=id, why=asked.why, approved_by=who())
    return ask(message, f"/api/rollouts/{id}")


@router.post("/api/rollouts/<id>/abort", status_code=202, summary="Stop a rollout that runs")
def abort(id: Annotated[Identity, Path()], asked: Why) -> Accepted:  # noqa: A002
    """It goes back at once, from whatever checkpoint it is at, to exactly what was there before."""
    of_owned_application(the(Rollout, id))
    message = RolloutAbortRequested(rollout=id, why=asked.why, requested_by=who())
    return ask(message, f"/api/rollouts/{id}")


@router.post("/api/rollouts/<id>/pause", status_code=202, summary="Pause a rollout at its next checkpoint")
def pause(id: Annotated[Identity, Path()], asked: Why) -> Accepted:  # noqa: A002
    """Or at the one where it is watched now. It stays there until it is resumed or aborted."""
    of_owned_application(the(Rollout, id))
    message = RolloutPauseRequested(rollout=id, why=asked.why, requested_by=who())
    return ask(message, f"/api/rollouts/{id}")


@router.post("/api/rollouts/<id>/resumption", status_code=202, summary="Let a paused rollout go on")
def resume(id: Annotated[Identity, Path()], asked: Why) -> Accepted:  # noqa: A002
    """With the instances that are left."""
    of_owned_application(the(Rollout, id))
    message = RolloutResumeRequested(rollout=id, why=asked.why, requested_by=who())
    return ask(message, f"/api/rollouts/{id}")


@router.post("/api/services/<id>/rollout", status_code=202, summary="Roll a permanent environment out, or step it back")
def roll_out(id: Annotated[Identity, Path()], asked: RolloutWish) -> Accepted:  # noqa: A002
    """Now: it waits for no approval and no window, only for the kill switch."""
    of_owned_application(the(Service, id))
    message = RolloutRequested(service=id, **asked.model_dump(), requested_by=who())
    return ask(message, "/api/services")


@router.post("/api/services/<id>/sleep", status_code=202, summary="Have a permanent environment sleep")
def put_service_to_sleep(id: Annotated[Identity, Path()], asked: Sleeping) -> Accepted:  # noqa: A002
    """One of kind staging: its instances end, all the rest of it stays."""
    of_owned_application(the(Service, id))
    message = EnvironmentSleepRequested(environment=id, **asked.model_dump(), requested_by=who())
    return ask(message, "/api/services")


@router.post("/api/services/<id>/waking", status_code=202, summary="Have a permanent environment awake")
def wake_service(id: Annotated[Identity, Path()], asked: Sleeping) -> Accepted:  # noqa: A002
    """What waited to be rolled out begins then."""
    of_owned_application(the(Service, id))
    message = EnvironmentWakeRequested(environment=id, **asked.model_dump(), requested_by=who())
    return ask(message, "/api/services")


@router.post("/api/sweeps", status_code=202, summary="Sweep now")
def sweep(asked: SweepWish) -> Accepted:
    """As a dry run, or letting through what the caps of an earlier one stopped."""
    return ask(SweepRequested(**asked.model_dump(), requested_by=who()), "/api/sweeps")


@router.post("/api/dead-letters/redrive", status_code=202, summary="Redrive dead letters")
def redrive(asked: DeadLetterWish) -> Accepted:
    """Each is handed once more to its function. What was followed meanwhile changes nothing."""
    return ask(DeadLettersRedriveRequested(**asked.model_dump(), requested_by=who()), "/api/dead-letters")


@router.post("/api/dead-letters/discard", status_code=202, summary="Discard dead letters")
def discard(asked: DeadLetterWish) -> Accepted:
    """Nobody follows them any more."""
    return ask(DeadLettersDiscardRequested(**asked.model_dump(), requested_by=who()), "/api/dead-letters")


@router.put("/api/kill-switch", status_code=202, summary="Turn the kill switch")
def turn(asked: Switch) -> Accepted:
    """While it is on, nothing is destroyed."""
    return ask(KillSwitchSet(**asked.model_dump(), set_by=who()), "/api/kill-switch")
