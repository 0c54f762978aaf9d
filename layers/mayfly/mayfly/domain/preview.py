"""Previews: the environment of a pull request, under one address that stays while its versions follow one another."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct

from mayfly.domain.forge import addresses

OUTPUT = "PreviewAddress"
"""The output of a preview that Mayfly adds: its stable address."""
_WANTED = "Url"
"""The output that is a preview's address; the first web address where there is none of this name."""
SECONDS = 60
"""For which resolvers keep a record: the next version is elsewhere."""


class DnsRecord(Struct, frozen=True):
    """Where a name leads. It ends with a dot, as Route 53 writes names."""

    name: str
    type: Literal["A", "AAAA", "CNAME"]
    value: str


def name_of(application: str, pull_request: int, domain: str) -> str:
    """Returns the name of a pull request's previews, such as ``webshop-7.preview.example.com``: of each application
    another, as what follows the last hyphen is the number."""
    return f"{application}-{pull_request}.{domain}"


def stable_address(outputs: Mapping[str, str], name: str) -> str | None:
    """Returns the address of a preview under its name; None where no output of its stack is a web address."""
    found = _own(outputs)
    host = urlsplit(found).hostname if found else None
    if not found or not host:
        return None
    parts = urlsplit(found)
    return parts._replace(netloc=f"{name}:{parts.port}" if parts.port else name).geturl()


def record_of(outputs: Mapping[str, str], name: str) -> DnsRecord | None:
    """Returns the record that leads from a preview's name to where its stack is."""
    found = _own(outputs)
    host = urlsplit(found).hostname if found else None
    if not host:
        return None
    try:
        address = ip_address(host)
    except ValueError:
        return DnsRecord(f"{name}.", "CNAME", host)
    return DnsRecord(f"{name}.", "A" if address.version == 4 else "AAAA", str(address))


def _own(outputs: Mapping[str, str]) -> str | None:
    known = {name: value for name, value in addresses(outputs).items() if name != OUTPUT}
    return known.get(_WANTED) or next(iter(known.values()), None)
