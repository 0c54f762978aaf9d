"""Address ranges of environments' own VPCs, handed out from a pool and taken back: no two that live have the same.

A range is known by its number in the pool. Which is taken by whom, the pool's record says.
"""

import hashlib
from collections.abc import Collection, Mapping
from ipaddress import IPv4Network

PARAMETERS = ("VpcCidr", "PublicSubnetCidrs", "PrivateSubnetCidrs")
"""A blueprint's parameters that take a range: the VPC's, and those of its subnets."""


def count(pool: IPv4Network, prefix: int) -> int:
    """Tells how many ranges of this prefix length a pool has."""
    return 1 << (prefix - pool.prefixlen)


def choose(environment: str, taken: Mapping[int, str], ranges: int) -> int | None:
    """Returns the number of the range that an environment gets: the one that it has already, or one that is free; None
    where the pool is used up.

    Environments begin to look in different places, so that many at once seldom want the same.
    """
    if own := [number for number, holder in taken.items() if holder == environment]:
        return min(own)
    first = int.from_bytes(hashlib.sha256(environment.encode()).digest()[:8]) % ranges
    return next((number for i in range(ranges) if (number := (first + i) % ranges) not in taken), None)


def abandoned(taken: Mapping[int, str], living: Collection[str]) -> dict[int, str]:
    """Returns the ranges whose environments do not live any more: their end was not told to the pool."""
    return {number: holder for number, holder in taken.items() if holder not in living}


def network(pool: IPv4Network, prefix: int, number: int) -> IPv4Network:
    """Returns the range of this number."""
    return IPv4Network((int(pool.network_address) + (number << (32 - prefix)), prefix))


def layout(vpc: IPv4Network) -> dict[str, str]:
    """Returns what a blueprint is told of a range: two small public subnets at its beginning, and two large private
    ones at its end, each of which takes the whole fleet if the other zone is out."""
    public = list(vpc.subnets(prefixlen_diff=4))[:2]
    private = list(vpc.subnets(prefixlen_diff=2))[2:]
    return dict(zip(PARAMETERS, (str(vpc), ",".join(map(str, public)), ",".join(map(str, private))), strict=True))
