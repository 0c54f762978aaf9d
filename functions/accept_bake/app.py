"""Takes whatever asks for new images (people, pushed Puppet code, publishers of base images, the schedule) and starts a
bake for each family that is concerned, once."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from mayfly.aws import bakes, catalogue
from mayfly.aws.bakes import Wish
from mayfly.aws.letters import door
from mayfly.domain.bake import concerns
from mayfly.domain.moment import text
from mayfly.messages import (
    BaseImagesPublished,
    Family,
    ImageBakeRequested,
    PuppetCodePushed,
    Received,
    Refused,
    receive,
)
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@door
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """A bake's name follows from its family and what asked for it: a repetition starts nothing twice."""
    here = settings()
    wishes, now = wishes_of(here, event)
    return {"accepted": True, "bakes": [bakes.ask(here, wish, now) for wish in wishes]}


def wishes_of(here: Settings, event: dict[str, Any]) -> tuple[list[Wish], datetime]:
    """Which families are to be baked and why, and when that was said."""
    if "Records" in event:
        published = receive(BaseImagesPublished, event)
        return list(of_publisher(here, published)), published.at
    if "detail-type" not in event:
        names = [name for name, _ in catalogue.families(here.parameters)]  # one that is wrong is told so by its bake
        wishes = [Wish(name, "schedule", "schedule", f"schedule {event['now']}") for name in names]
        return wishes, datetime.fromisoformat(event["now"])
    if event["detail-type"] == "Puppet Code Pushed":
        pushed = receive(PuppetCodePushed, event)
        return list(of_push(here, pushed)), pushed.at
    asked = receive(ImageBakeRequested, event)
    catalogue.family(here.parameters, asked.message.family)
    return [Wish(asked.message.family, asked.message.why, asked.message.requested_by, asked.via)], asked.at


def of_publisher(here: Settings, received: Received[BaseImagesPublished]) -> Iterator[Wish]:
    """The families whose next base may be among the images that were published for their Region."""
    for name, family in readable(here):
        images = received.message.regions.get(family.region, ())
        if concerns(family.base.name, [image.name for image in images]):
            yield Wish(name, f"new base images, {images[0].name} among them", "publisher", received.via)


def of_push(here: Settings, received: Received[PuppetCodePushed]) -> Iterator[Wish]:
    """The families that apply Puppet from an artifact. The code is remembered: whichever bake is next has it."""
    pushed = received.message
    chosen = [(name, catalogue.family(here.parameters, name)) for name in pushed.families or ()]
    if other := [name for name, family in chosen if family.puppet.mode != "apply"]:
        raise Refused(
            f"families: expected ones that apply Puppet from an artifact, but {', '.join(other)} asks a server"
        )
    who = pushed.pushed_by or received.via
    for name, family in chosen or readable(here):
        if family.puppet.mode == "apply":
            code = pushed.model_dump(include={"version", "artifact", "sha256"}, exclude_none=True)
            bakes.remember_code(here, name, code, text(received.at), who)
            yield Wish(name, f"Puppet code {pushed.version}", who, f"Puppet code {pushed.version}")


def readable(here: Settings) -> Iterator[tuple[str, Family]]:
    """The families whose configuration can be read."""
    for name, family in catalogue.families(here.parameters):
        if isinstance(family, Family):
            yield name, family
        else:
            logger.error("a family is configured wrongly", extra={"family": name, "reason": str(family)})
