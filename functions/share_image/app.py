"""Shares an image in every Region with the family's accounts, and reads back that it is there and shared."""

from typing import Any

from mayfly.aws import clients, images, keys
from mayfly.contract.configuration import Family
from mayfly.domain import tags
from mayfly.observability import logger
from mayfly.settings import Settings, load_settings
from mayfly.workflows import catalogue


class NotShared(Exception):
    """An image is not ready or not shared in one of the Regions. The channel does not move."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What was asked for is not what is: only what EC2 and KMS say afterwards lets the channel move."""
    settings, plan = load_settings(), event["plan"]
    logger.append_keys(family=plan["family"], image=plan["image"])
    family = catalogue.family(settings.parameters, plan["family"])
    regions = plan["regions"] | {copy["region"]: copy["image"] for copy in event["copies"]}
    if lacking := set(family.everywhere) - set(regions):
        raise NotShared(f"{plan['image']} has no copy in {', '.join(sorted(lacking))}")
    for region in family.everywhere:
        workload = images.enter(settings, family, plan["family"], region, f"promote-{plan['image']}")
        share(workload, family, regions[region])
        let_auto_scaling_launch(settings, family, plan, region)
    return {"regions": {region: regions[region] for region in family.everywhere}}


def share(workload: clients.Workload, family: Family, image: str) -> None:
    """Shares one image, and the key that encrypts it where one is configured."""
    seen, accounts = images.describe_image(workload, image), set(family.share_accounts) - {family.account}
    if seen is None or seen.state != "available":
        raise NotShared(f"{image} in {workload.region} is {seen.state if seen else 'gone'}")
    if not accounts:
        return
    images.share(workload, image, accounts)
    key = family.kms_key_ids.get(workload.region)
    if key:
        keys.grant(workload, key, accounts)
    able = images.shared_with(workload, image) & (keys.granted(workload, key) if key else accounts)
    if lacking := accounts - able:
        raise NotShared(f"{image} in {workload.region} is not shared with {', '.join(sorted(lacking))}")


def let_auto_scaling_launch(settings: Settings, family: Family, plan: dict[str, Any], region: str) -> None:
    """Lets Auto Scaling use the key of a Region in each account that Mayfly builds in. What other accounts do with a
    shared image, and grant for it, is their own."""
    if key := family.kms_key_ids.get(region):
        for account in sorted({family.account, *family.share_accounts}):
            if account == family.account or (account, region) in settings.targets:
                session = f"promote-{plan['image']}"
                role = settings.workload_role
                workload = clients.workload(account, region, role, session, (tags.IMAGE_FAMILY, plan["family"]))
                keys.grant_auto_scaling(workload, key, account)
