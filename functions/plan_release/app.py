"""Plans a release: one order for each suite of its application's test plan, all on one image and one blueprint."""

from typing import Any

from mayfly.aws import catalogue
from mayfly.aws.records import Entry, Records
from mayfly.domain.identity import environment_id
from mayfly.messages import CodeVersionPushed, Order
from mayfly.observability import logger
from mayfly.settings import settings


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Returns the orders. What the platform team configured wrongly is refused here, before anything is built."""
    here, release = settings(), event["release"]
    logger.append_keys(release=release)
    pushed = CodeVersionPushed.model_validate(event["pushed"])
    application = catalogue.application(here.parameters, pushed.application)
    account, region = catalogue.place(here, application.account, application.region)
    image = catalogue.image(here, application.image, region)
    blueprint = catalogue.pin(here.blueprints, application.blueprint)
    orders = [
        Order(
            environment=environment_id(release, suite.name),
            release=release,
            suite=suite.name,
            kind=suite.kind,
            image=image,
            channel=f"{application.image.family}/{application.image.channel}",
            blueprint=blueprint,
            account=account,
            region=region,
            **pushed.model_dump(include={"application", "version", "artifact"}),
            **application.model_dump(
                include={"owner", "owner_topic", "parameters", "instance_count"}
                | {"lifetime_minutes", "ceiling_minutes", "warn_minutes_before"}
            ),
        ).model_dump(mode="json")
        for suite in application.suites
    ]
    why = f"{len(orders)} suites on {image} from {blueprint.key}"
    Records(here.table, "release").change(
        release,
        {
            "stage": "running",
            "image": image,
            "suites": [{"suite": order["suite"], "environment": order["environment"]} for order in orders],
        },
        Entry(event["now"], context.function_name, "planned", why),
    )
    return {"release": release, "orders": orders}
