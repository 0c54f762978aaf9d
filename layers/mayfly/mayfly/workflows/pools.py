"""Takes address ranges from pools for environments with a VPC of their own, and gives them back."""

from ipaddress import IPv4Network

from mayfly.aws.records import Conflict, Records, attr
from mayfly.contract import orders
from mayfly.domain import ranges
from mayfly.domain.records import Environment, Pool
from mayfly.settings import Settings


class RangesUsedUp(Exception):
    """Every range of a pool is an environment's that lives."""


class PoolChanged(Exception):
    """A pool is configured anew while environments live in its old ranges: their numbers would mean others."""


def take(settings: Settings, pool: orders.Pool, environment: str) -> IPv4Network:
    """Takes a range for an environment, or finds the one that it has: two that ask at once never get the same.

    Raises:
        RangesUsedUp: there is none left, not even one whose environment is gone.
        PoolChanged: the pool is another one than that which its ranges were taken from.
    """
    records, whole, of = Records(settings.table, Pool), IPv4Network(pool.range), f"{pool.range} in /{pool.prefix}"
    size, found = ranges.count(whole, pool.prefix), records.get(pool.name) or Pool(id=pool.name)
    while True:
        changed = found.of not in (None, of)
        number = None if changed else ranges.choose(environment, _taken(found), size)
        if number is None:
            left = _reclaim(settings, records, found)
            if changed and left:
                raise PoolChanged(f"the pool {pool.name} was {found.of}, and {len(left)} environments live in it")
            number = ranges.choose(environment, left, size)
            if number is None:
                raise RangesUsedUp(f"the pool {pool.name} has no range left: {len(left)} of {size} are taken")
        mine, of_pool = attr((Pool.taken, number)), attr(Pool.of)
        free = (mine.not_exists() | mine.eq(environment)) & (of_pool.not_exists() | of_pool.eq(found.of or of))
        try:
            records.change(pool.name, taken={str(number): environment}, of=of, only_if=free)
        except Conflict as conflict:  # somebody else was faster
            found = conflict.found
            continue
        return ranges.network(whole, pool.prefix, number)


def give_back(settings: Settings, pool: str, environment: str) -> None:
    """Gives back what an environment has of a pool, once nothing of it is left."""
    records = Records(settings.table, Pool)
    for number, holder in _taken(records.get(pool) or Pool(id=pool)).items():
        if holder == environment:
            _free(records, pool, number, holder)


def _reclaim(settings: Settings, records: Records[Pool], pool: Pool) -> dict[int, str]:
    """Frees ranges whose environments are gone, because who should have given them back died. Returns what is left."""
    taken = _taken(pool)
    found = Records(settings.table, Environment).many(list(dict.fromkeys(taken.values())))
    gone = ranges.abandoned(taken, {record.id for record in found if record.live})
    for number, holder in gone.items():
        _free(records, pool.id, number, holder)
    return {number: holder for number, holder in taken.items() if number not in gone}


def _free(records: Records[Pool], pool: str, number: int, holder: str) -> None:
    try:
        records.change(pool, drop=((Pool.taken, number),), only_if=attr((Pool.taken, number)).eq(holder))
    except Conflict:  # it was freed meanwhile, and may be somebody else's by now
        return


def _taken(pool: Pool) -> dict[int, str]:
    return {int(number): holder for number, holder in pool.taken.items()}
