"""Counts, at the end of an environment's life, which of its instances failed."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from mayfly.aws import groups, instances
from mayfly.domain.losses import Losses, of_creation, of_life, with_failed_boots
from mayfly.domain.records import Environment
from mayfly.observability import logger, measure, metrics

if TYPE_CHECKING:
    from mayfly.aws.clients import Workload


def count(workload: "Workload", record: Environment, seen: Iterable[instances.Instance]) -> Losses | None:
    """Returns what an environment's record is to say of its instances that failed; None where it says so already, or
    none did.

    Auto Scaling is asked why only where an instance is gone. Where that is not known, the environment does
    not count.

    Args:
        seen: its instances as they are before its stack is deleted.
    """
    if record.instance_failures:
        return None
    try:
        asked, failed = record.instance_count or 0, len(record.failed_instances)
        found = with_failed_boots(_losses(workload, record, seen), failed, asked)
    except (ClientError, BotoCoreError):  # not to know it keeps nothing standing
        logger.exception("which instances failed is not known")
        return Losses()
    return None if found == Losses(record.instances_built or 0) else found


def _losses(workload: "Workload", record: Environment, seen: Iterable[instances.Instance]) -> Losses:
    built = record.instances_built
    if built is None or record.ready_at is None:
        return of_creation(record.ending.reason if record.ending else "")
    ready_at = datetime.fromisoformat(record.ready_at)
    running = [one.launched_at for one in seen if one.state == "running"]
    whole = sum(launched <= ready_at for launched in running) == built
    return of_life(ready_at, built, running, [] if whole else groups.terminations(workload, record.id))


def publish(record: Environment, lost: Losses) -> None:
    """Publishes the losses of an environment that is gone: of all, of its application, its blueprint and its image."""
    counted = {"InstancesLaunched": lost.launched, "InstancesFailed": lost.count}
    named = {"application": record.application, "blueprint": record.blueprint, "image": record.image}
    for name, count_of in counted.items():
        metrics.add_metric(name=name, unit="Count", value=count_of)
        for kind, value in named.items():
            if lost.launched and value:
                measure(name, count_of, **{kind: value})
