"""Attempts the same for many: a failure of one stops no other."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from contextlib import contextmanager

from mayfly.observability import logger, metrics

AT_ONCE = 16
"""Threads that look side by side."""


@contextmanager
def going_on(about: str) -> Iterator[None]:
    """Logs and counts what could not be done, and goes on; the next sweep tries again."""
    try:
        yield
    except Exception:
        logger.exception("this could not be carried out", extra={"about": about})
        metrics.add_metric(name="SweepFailures", unit="Count", value=1)


def threads() -> Executor:
    """Makes the threads that run the attempts."""
    return ThreadPoolExecutor(AT_ONCE)


def side_by_side[K, V](
    attempt: Callable[[K], V], about: Iterable[K], seconds: float
) -> tuple[dict[K, V], dict[K, str]]:
    """Attempts the same for many at once, within so many seconds together.

    Returns:
        what came of each that could be done, and why each other could not. One that hangs is left to itself.
    """
    pool = threads()
    futures = {one: pool.submit(attempt, one) for one in about}
    _, late = wait(futures.values(), seconds)
    pool.shutdown(wait=False, cancel_futures=True)
    results, failed = {}, {}
    for one, future in futures.items():
        if future in late:
            failed[one] = f"there was no answer within {seconds:.0f} seconds"
        elif error := future.exception():
            logger.error("this could not be looked at", extra={"about": one}, exc_info=error)
            failed[one] = f"{type(error).__name__}: {error}"
        else:
            results[one] = future.result()
    return results, failed
