"""Plans a release: one order for each suite of its application's test plan, all on one image and one blueprint. Ends
the older releases of its branch that it supersedes."""

from typing import Any

import mayfly.contract.configuration
import mayfly.contract.template  # noqa: F401 - read in each first call
from mayfly.contract.requests import CodeVersionPushed
from mayfly.contract.vocabulary import EnvironmentStage
from mayfly.domain.records import Entry
from mayfly.observability import logger
from mayfly.settings import load_settings
from mayfly.workflows import releases, superseding


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Returns the orders. What the platform team configured wrongly is refused here, before anything is built."""
    settings, release = load_settings(), event["release"]
    logger.append_keys(release=release)
    # The message was read strictly when it was accepted; a later version may have begun this execution.
    pushed = CodeVersionPushed.model_validate(event["pushed"], extra="ignore")
    orders = releases.plan(settings, release, pushed)
    on = f" on {orders[0].image}" if orders[0].image else ""
    why = f"{len(orders)} suite{'' if len(orders) == 1 else 's'}{on} from {orders[0].blueprint.key}"
    entry = Entry(event["now"], context.function_name, EnvironmentStage.PLANNED, why)
    if record := releases.remember_plan(settings, release, orders, entry):
        superseding.supersede(settings, record, event["now"], context.function_name)
    return {"release": release, "orders": [order.plain() for order in orders]}
