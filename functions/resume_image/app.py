"""Takes EC2's events of instances and images and resumes the execution that waits for a builder, an image or a copy."""

from typing import Any

from mayfly.aws import executions
from mayfly.aws.letters import door
from mayfly.aws.records import Records
from mayfly.domain.bake import builder_answer, image_answer
from mayfly.messages import ImageState, InstanceState, receive
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@door
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """An event that nobody waits for, of another's machine or a second time, changes nothing."""
    here = settings()
    if event.get("detail-type") == "EC2 AMI State Change":
        return of_image(here, receive(ImageState, event).message)
    return of_builder(here, receive(InstanceState, event).message)


def of_builder(here: Settings, said: InstanceState) -> dict[str, Any]:
    """A builder stopped, or is lost."""
    bake = (Records(here.table, "builder").get(said.instance) or {}).get("bake")
    waiting = ((Records(here.table, "bake").get(bake) or {}) if bake else {}).get("waiting") or {}
    reply = builder_answer(said.state) if waiting.get("for") == "builder" else None
    if reply is None:
        return {"instance": said.instance, "resumed": False, "reason": "nobody waits for this"}
    resumed = executions.settle(waiting["token"], reply, {"builder": said.instance})
    return {"instance": said.instance, "bake": bake, "resumed": resumed, "reason": reply.reason}


def of_image(here: Settings, said: ImageState) -> dict[str, Any]:
    """An image, or a copy of one, is there or failed."""
    waiting = (Records(here.table, "image").get(said.image) or {}).get("waiting") or {}
    reply = image_answer(said.state, said.why) if waiting.get("for") == "image" else None
    if reply is None:
        return {"image": said.image, "resumed": False, "reason": "nobody waits for this"}
    resumed = executions.settle(waiting["token"], reply, {"image": said.image})
    return {"image": said.image, "resumed": resumed, "reason": reply.reason}
