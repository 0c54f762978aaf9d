"""Takes whatever asks for new images (people, pushed Puppet code, publishers of base images, a family's configuration,
the schedule) and starts a bake for each family that is concerned, once."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from mayfly.aws.dead_letters import message_handler
from mayfly.contract.aws_events import BaseImagesPublished, ParameterChange
from mayfly.contract.configuration import Family
from mayfly.contract.reader import Received, Refused, receive
from mayfly.contract.requests import ImageBakeRequested, PuppetCodePushed
from mayfly.contract.vocabulary import AwsEvent
from mayfly.domain.bake import concerns, recipe
from mayfly.domain.timestamp import utc_text
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings
from mayfly.workflows import bakes, catalogue
from mayfly.workflows.bakes import Wish

TAKES = {"apply": "apply Puppet from an artifact", "agent": "ask a Puppet server, as there is no artifact"}
TAKES_NOT = {"apply": "asks a server", "agent": "applies an artifact"}


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A bake's name follows from its family and what asked for it: a repetition starts nothing twice."""
    settings = load_settings()
    wishes, now = wishes_of(settings, event)
    return {"accepted": True, "bakes": [bakes.ask(settings, wish, now) for wish in wishes]}


def wishes_of(settings: Settings, event: dict[str, Any]) -> tuple[list[Wish], datetime]:
    """Tells which families are to be baked and why, and when that was said."""
    if "Records" in event:
        published = receive(BaseImagesPublished, event)
        return list(of_publisher(settings, published)), published.at
    if "detail-type" not in event:
        names = [
            name for name, _ in catalogue.families(settings.parameters)
        ]  # one that is wrong is told so by its bake
        wishes = [Wish(name, "schedule", "schedule", f"schedule {event['now']}") for name in names]
        return wishes, datetime.fromisoformat(event["now"])
    if event["detail-type"] == AwsEvent.PARAMETER_CHANGED:
        changed = receive(ParameterChange, event)
        return list(of_configuration(settings, changed)), changed.at
    if event["detail-type"] == PuppetCodePushed.event:
        pushed = receive(PuppetCodePushed, event)
        return list(of_push(settings, pushed)), pushed.at
    asked = receive(ImageBakeRequested, event)
    catalogue.family(settings.parameters, asked.message.family)
    return [Wish(asked.message.family, asked.message.why, asked.message.requested_by, asked.via)], asked.at


def of_publisher(settings: Settings, received: Received[BaseImagesPublished]) -> Iterator[Wish]:
    """Returns the families whose next base may be among the images that were published for their Region."""
    for name, family in readable(settings):
        images = received.message.regions.get(family.region, ())
        if concerns(family.base.name, [image.name for image in images]):
            yield Wish(name, f"new base images, {images[0].name} among them", "publisher", received.via)


def of_push(settings: Settings, received: Received[PuppetCodePushed]) -> Iterator[Wish]:
    """Returns the families that take Puppet's code from where it was pushed to. That of an artifact is remembered:
    whichever bake is next has it. A Puppet server has it already."""
    pushed = received.message
    mode = "apply" if pushed.artifact else "agent"
    chosen = [(name, catalogue.family(settings.parameters, name)) for name in pushed.families or ()]
    if other := [name for name, family in chosen if family.puppet.mode != mode]:
        raise Refused(f"families: expected ones that {TAKES[mode]}, but {', '.join(other)} {TAKES_NOT[mode]}")
    who = received.claimed(pushed.pushed_by) if pushed.pushed_by else received.source
    for name, family in chosen or readable(settings):
        if family.puppet.mode == mode:
            code = pushed.model_dump(include={"version", "artifact", "sha256"}, exclude_none=True)
            if pushed.artifact:
                bakes.remember_code(settings, name, code, utc_text(received.at), who)
            yield Wish(name, f"Puppet code {pushed.version}", who, f"Puppet code {pushed.version}")


def of_configuration(settings: Settings, received: Received[ParameterChange]) -> Iterator[Wish]:
    """Returns the family whose configuration was changed, where images were made of another recipe. One that was never
    baked waits for whoever asks for its first bake. Two changes in a row may both be heard of after the second: what
    asks for the bake is the recipe, where it is baked, and after which bake, so that both ask for the same."""
    if received.message.operation == "Update":
        name = received.message.name.rpartition("/")[2]
        family = catalogue.family(settings.parameters, name)
        wanted = recipe(family.model_dump(mode="json"))
        record = bakes.family_named(settings, name)
        if record and record.recipe not in ("", wanted):
            why = f"its configuration was changed from recipe {record.recipe} to {wanted}"
            event = f"recipe {wanted} in {family.account}, {family.region}, after {record.recipe_of}"
            yield Wish(name, why, "configuration", event)


def readable(settings: Settings) -> Iterator[tuple[str, Family]]:
    """Returns the families whose configuration can be read."""
    for name, family in catalogue.families(settings.parameters):
        if isinstance(family, Family):
            yield name, family
        else:
            logger.error("a family is configured wrongly", extra={"family": name, "reason": str(family)})
