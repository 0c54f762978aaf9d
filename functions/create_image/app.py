"""Has an image made of a builder that did its work, and settles the wait at once where the image is there already."""

from typing import Any

from botocore.exceptions import ClientError

from mayfly.aws import builders, clients, executions, reports
from mayfly.aws.records import Entry, Records
from mayfly.domain import tags
from mayfly.domain.bake import image_answer, image_name, why_failed
from mayfly.messages import Bake
from mayfly.observability import logger
from mayfly.settings import Settings, settings


class BakeFailed(Exception):
    """The builder failed, or never said that it is done. The message is why."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Asks the builder itself how it went: its state, and the tag that it wrote. So this is also the one look after an
    event that did not come. The image's name makes it unique: a repetition finds the one asked for before."""
    here, plan, token = settings(), Bake.model_validate(event["plan"]), event["token"]
    logger.append_keys(bake=plan.bake)
    bakes, images = Records(here.table, "bake"), Records(here.table, "image")
    workload = clients.workload(plan.account, plan.region, here.workload_role, plan.bake, tags.BAKE)
    record = bakes.change(plan.bake, {"stage": "imaging"}, drop=("waiting",))
    builder = builders.look(workload, record["builder"])
    if reason := why_failed(builder.state, builder.labels):
        raise BakeFailed(
            f"{reason}; log: {plan.builder.log}; console: {keep_console(here, workload, plan, builder.id)}"
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
    bakes.change(plan.bake, {"image": image.id}, entry)
    if reply := image_answer(image.state, image.why):
        executions.settle(token, reply, {"image": image.id})
    return {"bake": plan.bake, "image": image.id}


def keep_console(here: Settings, workload: clients.Workload, plan: Bake, builder: str) -> str:
    """Keeps what the builder printed on its console, which goes with it; returns where. A builder that never came so
    far as its log says nothing else."""
    try:
        return reports.keep_text(here.reports, f"consoles/{plan.bake}.txt", builders.console(workload, builder))
    except ClientError as error:  # the bake has failed for its own reason, which this must not hide
        logger.warning("the console cannot be kept", exc_info=True)
        return f"unknown, {error.response['Error']['Code']}"
