"""Keeps a bake's log and removes its builder, however the bake went. The sweep removes what a dead bake leaves."""

from typing import Any

from mayfly.contract.orders import Bake
from mayfly.observability import logger
from mayfly.settings import load_settings
from mayfly.workflows import bakes


class RemovalRefused(Exception):
    """The guard refused to remove the builder. It stays, and a person has to look."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Found by its tags and not by its record: one that was launched and not written down is found as well."""
    settings, plan = load_settings(), Bake.read(event["plan"])
    logger.append_keys(bake=plan.bake)
    kept = bakes.keep_log(settings, plan)
    done = bakes.clean_up(settings, (plan.account, plan.region), plan.bake)
    if done["refused"]:
        raise RemovalRefused("; ".join(f"{one} is left: {why}" for one, why in done["refused"].items()))
    return {"bake": plan.bake, "removed": done["removed"], "log_kept": kept}
