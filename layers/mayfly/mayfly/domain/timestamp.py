"""Timestamps as text: UTC, ISO 8601, ending in Z, as Step Functions writes them."""

from datetime import UTC, datetime


def utc_text(timestamp: datetime) -> str:
    """Returns a timestamp to the millisecond, such as ``2026-11-24T06:47:33.120Z``. Sorting these sorts by time."""
    return timestamp.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def read_timestamp(text: str | None) -> datetime | None:
    """Reads a timestamp as somebody wrote it; None where nobody did, or it is something else."""
    try:
        timestamp = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return timestamp if timestamp and timestamp.tzinfo else None
