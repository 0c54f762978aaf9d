"""What is done for many, one after the other: one that cannot be done stops no other."""

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError

from mayfly.aws.events import NotTaken
from mayfly.observability import logger, metrics


@contextmanager
def going_on(about: str) -> Iterator[None]:
    """Logs and counts what AWS refused, and goes on; the next sweep tries again."""
    try:
        yield
    except (BotoCoreError, ClientError, NotTaken):
        logger.exception("this could not be carried out", extra={"about": about})
        metrics.add_metric(name="SweepFailures", unit="Count", value=1)
