"""Has an image copied into one Region, and settles the wait at once where nothing is left to wait for."""

from typing import Any

from mayfly.aws import catalogue, clients, copies, executions
from mayfly.aws.records import Entry, Records
from mayfly.domain import tags
from mayfly.domain.bake import image_answer
from mayfly.messages import Family
from mayfly.observability import logger
from mayfly.settings import Settings, settings


class SourceLost(Exception):
    """The image that is to be copied is not there any more."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Runs first to ask for the copy, and again whenever the event that should end the wait does not come.

    A copy's id is known only once it was asked for, and its event may be faster than its record: so the copy is
    looked at once after that was written.
    """
    here, asked, token = settings(), event["copy"], event["token"]
    source, region = asked["image"], asked["region"]
    logger.append_keys(family=asked["family"], image=source, region=region)
    family = catalogue.family(here.parameters, asked["family"])
    workload = copies.enter(here, family, asked["family"], region, f"promote-{source}")
    begun = [each.id for each in copies.of(workload, source, here.controller) if image_state_is_good(each.state)]
    copied = begun[0] if begun else ask(here, family, workload, asked, event["move"])
    Records(here.table, "image").change(
        copied,
        {
            "id": copied,
            "family": asked["family"],
            "source": source,
            "account": family.account,
            "region": region,
            "waiting": {"for": "image", "token": token},
        },
        Entry(event["now"], context.function_name, "copying", f"{source} of {family.region} for {event['move']}"),
    )
    seen = copies.look(workload, copied)
    if seen and (answer := image_answer(seen.state, seen.reason)):
        executions.settle(token, answer, {"image": copied})
    return {"image": copied, "region": region}


def image_state_is_good(state: str) -> bool:
    """Whether a copy is there or on its way."""
    return state in ("pending", "available")


def ask(here: Settings, family: Family, workload: clients.Workload, asked: dict[str, Any], move: str) -> str:
    """Asks for the copy, tagged like its source from its first moment; returns its id."""
    home = clients.workload(family.account, family.region, here.workload_role, None)
    source = copies.look(home, asked["image"])
    if source is None or source.state != "available":
        raise SourceLost(f"{asked['image']} is {source.state if source else 'gone'}")
    labels = dict(source.labels) | {tags.SOURCE_IMAGE: source.id}
    key = family.kms_key_ids.get(asked["region"])
    return copies.copy(workload, source, family.region, labels, key, move)
