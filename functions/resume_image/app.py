"""Takes EC2's events of instances and images and resumes the execution that waits for a builder, an image or a copy."""

from typing import Any

from mayfly.aws import executions
from mayfly.aws.dead_letters import message_handler
from mayfly.aws.records import Records
from mayfly.contract.aws_events import ImageState, InstanceState
from mayfly.contract.reader import receive
from mayfly.contract.vocabulary import AwsEvent, Wait
from mayfly.domain.bake import builder_answer, image_answer
from mayfly.domain.records import Bake, Builder, Image
from mayfly.observability import logger, metrics
from mayfly.settings import Settings, load_settings


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
@message_handler
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """An event that nobody waits for, of another's machine or a second time, changes nothing."""
    settings = load_settings()
    if event.get("detail-type") == AwsEvent.IMAGE_STATE:
        return of_image(settings, receive(ImageState, event).message)
    return of_builder(settings, receive(InstanceState, event).message)


def of_builder(settings: Settings, said: InstanceState) -> dict[str, Any]:
    """Resumes a bake whose builder stopped, or is lost."""
    pointer = Records(settings.table, Builder).get(said.instance)
    bake = pointer.bake if pointer else None
    record = Records(settings.table, Bake).get(bake) if bake else None
    waiting = record.waiting if record else None
    reply = builder_answer(said.state) if waiting and waiting.for_ == Wait.BUILDER else None
    if waiting is None or reply is None:
        return {"instance": said.instance, "resumed": False, "reason": "nobody waits for this"}
    resumed = executions.complete_task(waiting.token, reply, {"builder": said.instance})
    return {"instance": said.instance, "bake": bake, "resumed": resumed, "reason": reply.reason}


def of_image(settings: Settings, said: ImageState) -> dict[str, Any]:
    """Resumes the execution that waits for an image, or a copy of one, that is there or failed."""
    record = Records(settings.table, Image).get(said.image)
    waiting = record.waiting if record else None
    reply = image_answer(said.state, said.why) if waiting and waiting.for_ == Wait.IMAGE else None
    if waiting is None or reply is None:
        return {"image": said.image, "resumed": False, "reason": "nobody waits for this"}
    resumed = executions.complete_task(waiting.token, reply, {"image": said.image})
    return {"image": said.image, "resumed": resumed, "reason": reply.reason}
