"""Decides which older releases of a branch a newer version of it supersedes."""

from collections.abc import Iterable, Mapping
from typing import Literal

from mayfly.contract.vocabulary import Outcome
from mayfly.domain.records import Environment, Release, Suite

type Supersede = Literal["never", "waiting", "always"]

_REPEATED = (Outcome.FAILED, Outcome.BROKEN)
"""Outcomes after which a suite is tried again, if it has attempts left."""


def in_order(releases: Iterable[Release]) -> list[Release]:
    """Releases in the order in which AWS took their pushes, whichever arrived first."""
    return sorted(releases, key=lambda release: (release.began, release.id))


def is_superseded(
    release: Release, newer: Release, environments: Mapping[str, Environment], supersede: Supersede
) -> bool:
    """Tells whether a release is ended because of a newer one of its branch. Of two that AWS took in the same second
    nobody knows which is newer. One of which nothing goes on any more is left to its verdict.

    Args:
        environments: those of the release that have a record, by name.
        supersede: as their application says. One waits for room as long as none of its environments has had any.
    """
    if supersede == "never" or release.verdict or newer.began <= release.began:
        return False
    if supersede == "waiting" and any(one.reserved or one.stack for one in environments.values()):
        return False
    return not release.suites or any(_goes_on(suite, environments) for suite in release.suites)


def _goes_on(suite: Suite, environments: Mapping[str, Environment]) -> bool:
    name = suite.latest(environments)
    ending = environments[name].ending if name in environments else None
    return ending is None or (ending.outcome in _REPEATED and name != suite.attempts[-1])


def reason(newer: str) -> str:
    """Tells why something is ended that a newer release superseded."""
    return f"superseded by {newer}"
