"""Times as the store writes them: ISO 8601 in UTC with milliseconds and a `Z`, so that text sorts as time does."""

from __future__ import annotations

from datetime import UTC, datetime


def now() -> str:
    """This moment."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse(text: str) -> datetime:
    """The moment that `now` wrote."""
    return datetime.fromisoformat(text)


def from_epoch(seconds: float) -> str:
    """Seconds since the epoch, as `now` writes them."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text_of(moment: datetime) -> str:
    """A moment, as `now` writes them."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
