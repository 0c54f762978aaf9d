"""Copies an image into one Region; completes the task at once where the copy is there already."""

from typing import Any

from mayfly.aws import clients, executions, images
from mayfly.aws.records import Records
from mayfly.contract.configuration import Family
from mayfly.contract.vocabulary import Wait
from mayfly.domain.bake import image_answer
from mayfly.domain.records import Entry, Image, Waiting
from mayfly.observability import logger
from mayfly.settings import Settings, load_settings
from mayfly.workflows import catalogue


class SourceLost(Exception):
    """The image that is to be copied is not there any more."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Runs first to ask for the copy, and again whenever the event that should end the wait does not come.

    A copy's id is known only once it was asked for, and its event may be faster than its record: so the copy is
    looked at once after that was written.
    """
    settings, asked, token = load_settings(), event["copy"], event["token"]
    source, region = asked["image"], asked["region"]
    logger.append_keys(family=asked["family"], image=source, region=region)
    family = catalogue.family(settings.parameters, asked["family"])
    workload = images.enter(settings, family, asked["family"], region, f"promote-{source}")
    begun = [
        each.id for each in images.copies_of(workload, source, settings.controller) if image_state_is_good(each.state)
    ]
    copied = begun[0] if begun else ask(settings, family, workload, asked, event["move"])
    Records(settings.table, Image).change(
        copied,
        Entry(event["now"], context.function_name, "copying", f"{source} of {family.region} for {event['move']}"),
        id=copied,
        family=asked["family"],
        source=source,
        account=family.account,
        region=region,
        waiting=Waiting(Wait.IMAGE, token),
    )
    seen = images.describe_image(workload, copied)
    if seen and (answer := image_answer(seen.state, seen.reason)):
        executions.complete_task(token, answer, {"image": copied})
    return {"image": copied, "region": region}


def image_state_is_good(state: str) -> bool:
    """Tells whether a copy is there or on its way."""
    return state in ("pending", "available")


def ask(settings: Settings, family: Family, workload: clients.Workload, asked: dict[str, Any], move: str) -> str:
    """Asks for the copy, tagged in the same call; returns its id."""
    home = clients.workload(family.account, family.region, settings.workload_role, None)
    source = images.describe_image(home, asked["image"])
    if source is None or source.state != "available":
        raise SourceLost(f"{asked['image']} is {source.state if source else 'gone'}")
    key = family.kms_key_ids.get(asked["region"])
    return images.copy(workload, source, family.region, key, move)
