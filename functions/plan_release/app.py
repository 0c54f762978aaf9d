"""Plans a release: one order for each suite of its application's test plan, all on one image and one blueprint."""

from typing import Any

from mayfly.aws import catalogue
from mayfly.aws.records import Entry, Records
from mayfly.domain.identity import environment_id
from mayfly.messages import Application, CodeVersionPushed, Order, Refused
from mayfly.observability import logger
from mayfly.settings import Settings, settings


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Returns the orders. What the platform team configured wrongly is refused here, before anything is built."""
    here, release = settings(), event["release"]
    logger.append_keys(release=release)
    pushed = CodeVersionPushed.model_validate(event["pushed"])
    application = catalogue.application(here.parameters, pushed.application)
    image = catalogue.image(here.parameters, application.image)
    blueprint = catalogue.pin(here.blueprints, application.blueprint)
    account, region = place(here, application)
    orders = [
        Order(
            environment=environment_id(release, suite.name),
            release=release,
            suite=suite.name,
            kind=suite.kind,
            image=image,
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


def place(here: Settings, application: Application) -> tuple[str, str]:
    """Where an application's environments live. What is built elsewhere, no sweep would find."""
    account, region, _ = here.controller.split("/", 2)
    chosen = (application.account or account, application.region or region)
    if chosen not in here.places:
        known = ", ".join("/".join(place) for place in here.places)
        raise Refused(f"account, region: expected one of {known}, but it is {'/'.join(chosen)}")
    return chosen
