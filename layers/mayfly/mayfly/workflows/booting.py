"""Notes in an environment's history which of its instances are still booting, and where they hang."""

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from mayfly.aws.records import Records
from mayfly.contract.vocabulary import EnvironmentStage
from mayfly.domain.boot import unready
from mayfly.domain.records import Entry, Environment
from mayfly.settings import Settings

_SHOWN = 3


def note(
    settings: Settings,
    records: Iterable[Environment],
    instances: Mapping[str, Mapping[str, Mapping[str, str]]],
    entry: Entry,
) -> None:
    """Notes which instances of an environment that is being built are not ready, and where they hang, if that is news.

    Args:
        instances: by environment and id, their tags. entry: what is noted, all but the reason.
    """
    for record in records:
        there = instances.get(record.id, {})
        waiting = unready(there) if record.stage == EnvironmentStage.CREATING else []
        why = f"{len(there) - len(waiting)} of {len(there)} instances are ready; {'; '.join(waiting[:_SHOWN])}"
        said = [line.why for line in record.history if line.what == entry.what]
        if waiting and why not in said[-1:]:
            Records(settings.table, Environment).note(record.id, replace(entry, why=why))
