"""Creates an image from a builder that did its work; completes the task at once where the image is there already."""

from typing import Any

from mayfly.aws import builders, clients, executions, instances
from mayfly.aws.records import Records
from mayfly.contract.orders import Bake
from mayfly.contract.vocabulary import BakeStage, ImageStage, Wait
from mayfly.domain import tags
from mayfly.domain.bake import image_answer, image_name, why_failed
from mayfly.domain.records import Bake as BakeRecord
from mayfly.domain.records import Entry, Image, Waiting
from mayfly.observability import logger
from mayfly.settings import load_settings
from mayfly.workflows import bakes


class BakeFailed(Exception):
    """The builder failed, or never said that it is done. The message is why."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Asks the builder itself how it went: its state, and the tag that it wrote. So this is also the one look after an
    event that did not come. The image's name makes it unique: a repetition finds the one asked for before."""
    settings, plan, token = load_settings(), Bake.read(event["plan"]), event["token"]
    logger.append_keys(bake=plan.bake)
    records, images = Records(settings.table, BakeRecord), Records(settings.table, Image)
    workload = clients.workload(plan.account, plan.region, settings.workload_role, plan.bake, tags.BAKE)
    record = records.change(plan.bake, stage=BakeStage.IMAGING, drop=(BakeRecord.waiting,))
    name = str(record and record.builder)
    builder = instances.describe(workload, name)
    if reason := why_failed(builder.state if builder else "terminated", builder.labels if builder else {}):
        raise BakeFailed(
            f"{reason}; log: {record.log if record else plan.builder.log}; "
            f"console: {bakes.keep_console(settings, workload, plan.bake, name)}"
        )
    made_of = record.made_of if record else {}
    labels = tags.of_image(plan.bake, plan.family, settings.controller, plan.builder.base_image, made_of)
    image = builders.make_image(workload, name, image_name(plan.bake), labels)
    images.change(
        image.id,
        Entry(event["now"], context.function_name, ImageStage.IMAGING, f"of {name} for {plan.bake}"),
        id=image.id,
        live=Image.kind.value,
        stage=ImageStage.IMAGING,
        base_image=plan.builder.base_image,
        made_of=made_of,
        waiting=Waiting(Wait.IMAGE, token),
        **plan.only("bake", "family", "account", "region"),
    )
    entry = Entry(event["now"], context.function_name, ImageStage.IMAGING, f"{image.id} of {name}")
    records.change(plan.bake, entry, image=image.id)
    if reply := image_answer(image.state, image.why):
        executions.complete_task(token, reply, {"image": image.id})
    return {"bake": plan.bake, "image": image.id}
