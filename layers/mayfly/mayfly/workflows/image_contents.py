"""Keeps what proven images consist of, as each proof said it, and compares it for whoever promotes an image."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import asdict

from mayfly.aws import reports
from mayfly.domain.contents import Contents, compare


class NotRecorded(Exception):
    """Nothing says what an image consists of: it proved nothing, or it was proven before Mayfly asked for it."""


def keep(bucket: str, image: str, contents: Contents) -> None:
    """Writes what an image consists of into the reports' bucket."""
    reports.overwrite(bucket, _key(image), asdict(contents))


def differences(bucket: str, before: str, after: str) -> dict[str, Any]:
    """Compares two images, as the API and the command line show it.

    Raises:
        NotRecorded: of one of them nothing is kept.
    """
    changes = compare(_read(bucket, before), _read(bucket, after))
    return {
        "before": before,
        "after": after,
        **{f"{kind}s": [asdict(change) for change in found] for kind, found in changes.items()},
    }


def _read(bucket: str, image: str) -> Contents:
    found: Mapping[str, Any] | None = reports.read(bucket, _key(image))
    if found is None:
        raise NotRecorded(f"nothing is recorded of what {image} consists of: expected an image that proved itself")
    return Contents(found["parts"])


def _key(image: str) -> str:
    return f"images/{image}.json"
