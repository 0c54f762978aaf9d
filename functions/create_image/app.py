"""Has an image made of a builder that did its work, and settles the wait at once where the image is there already."""

from typing import Any

from mayfly.aws import bakes, builders, clients, executions
from mayfly.aws.records import Entry, Records
from mayfly.domain import tags
from mayfly.domain.bake import image_answer, image_name, why_failed
from mayfly.messages import Bake
from mayfly.observability import logger
from mayfly.settings import settings


class BakeFailed(Exception):
    """The builder failed, or never said that it is done. The message is why."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Asks the builder itself how it went: its state, and the tag that it wrote. So this is also the one look after an
    event that did not come. The image's name makes it unique: a repetition finds the one asked for before."""
    here, plan, token = settings(), Bake.model_validate(event["plan"]), event["token"]
    logger.append_keys(bake=plan.bake)
    records, images = Records(here.table, "bake"), Records(here.table, "image")
    workload = clients.workload(plan.account, plan.region, here.workload_role, plan.bake, tags.BAKE)
    record = records.change(plan.bake, {"stage": "imaging"}, drop=("waiting",))
    builder = builders.look(workload, record["builder"])
    if reason := why_failed(builder.state, builder.labels):
        raise BakeFailed(
            f"{reason}; log: {plan.builder.log}; console: {bakes.keep_console(here, workload, plan.bake, builder.id)}"
        )
    labels = tags.of_image(plan.bake, plan.family, here.controller, plan.builder.base_image)
    image = builders.make_image(workload, builder.id, image_name(plan.bake), labels)
    images.change(
        image.id,
        {
            "id": image.id,
            "stage": "imaging",
            "base_image": plan.builder.base_image,
            "waiting": {"for": "image", "token": token},
            "live": "image",
            **plan.model_dump(include={"bake", "family", "account", "region"}),
        },
        Entry(event["now"], context.function_name, "imaging", f"of {builder.id} for {plan.bake}"),
    )
    entry = Entry(event["now"], context.function_name, "imaging", f"{image.id} of {builder.id}")
    records.change(plan.bake, {"image": image.id}, entry)
    if reply := image_answer(image.state, image.why):
        executions.settle(token, reply, {"image": image.id})
    return {"bake": plan.bake, "image": image.id}
