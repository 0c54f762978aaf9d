"""Shares an image in every Region with the family's accounts, and reads back that it is there and shared."""

from typing import Any

from mayfly.aws import catalogue, clients, copies
from mayfly.messages import Family
from mayfly.observability import logger
from mayfly.settings import settings


class NotShared(Exception):
    """An image is not ready or not shared in one of the Regions. The channel does not move."""


@logger.inject_lambda_context(clear_state=True)
def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """What was asked for is not what is: only what EC2 and KMS say afterwards lets the channel move."""
    here, plan = settings(), event["plan"]
    logger.append_keys(family=plan["family"], image=plan["image"])
    family = catalogue.family(here.parameters, plan["family"])
    regions = plan["regions"] | {copy["region"]: copy["image"] for copy in event["copies"]}
    if lacking := set(family.everywhere) - set(regions):
        raise NotShared(f"{plan['image']} has no copy in {', '.join(sorted(lacking))}")
    for region in family.everywhere:
        workload = copies.enter(here, family, plan["family"], region, f"promote-{plan['image']}")
        share(workload, family, regions[region])
    return {"regions": {region: regions[region] for region in family.everywhere}}


def share(workload: clients.Workload, family: Family, image: str) -> None:
    """Shares one image, and the key that encrypts it where one is configured."""
    seen, accounts = copies.look(workload, image), set(family.share_accounts) - {family.account}
    if seen is None or seen.state != "available":
        raise NotShared(f"{image} in {workload.region} is {seen.state if seen else 'gone'}")
    if not accounts:
        return
    copies.share(workload, image, accounts)
    key = family.kms_key_ids.get(workload.region)
    if key:
        copies.grant(workload, key, accounts)
    able = copies.shared_with(workload, image) & (copies.granted(workload, key) if key else accounts)
    if lacking := accounts - able:
        raise NotShared(f"{image} in {workload.region} is not shared with {', '.join(sorted(lacking))}")
