"""JSON on stdin comes in, fields with their types and limits go out."""

from __future__ import annotations

import os

from deployd_host.paths import MAX_DOCUMENT
from deployd_host.replies import RefusedError, bad_request
from deployd_host.words import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from deployd_host.replies import Json


def read_document() -> Json:
    """The JSON object on stdin, which may be gzip."""
    data = bytearray()
    while chunk := os.read(0, 1 << 20):
        data += chunk
        if len(data) > MAX_DOCUMENT:
            raise bad_request("the document on stdin is too large")
    if data[:2] == b"\x1f\x8b":
        import zlib

        unpacker = zlib.decompressobj(31)
        try:
            data = bytearray(unpacker.decompress(bytes(data), MAX_DOCUMENT))
        except zlib.error as error:
            raise bad_request(f"the document on stdin is not gzip: {error}") from error
        if not unpacker.eof:
            raise bad_request("the document on stdin is too large, or cut")
    return document(bytes(data))


def document(data: bytes) -> Json:
    """`data` as a JSON object."""
    import json

    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise bad_request(f"the document on stdin is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise bad_request("the document on stdin is not an object")
    return value


class Fields:
    """Reads a JSON object's fields, each with its type and limits; `finish` refuses those that nobody asked for."""

    __slots__ = ("code", "known", "value")

    def __init__(self, value: object, *, code: str = "bad-request") -> None:
        self.code = code
        if not isinstance(value, dict):
            raise self.wrong("an object was expected")
        self.value: Json = value
        self.known: set[str] = set()

    def wrong(self, what: str) -> RefusedError:
        """The refusal."""
        if self.code == "bad-request":
            return bad_request(what)
        return RefusedError(self.code, what, fix="package the app again with this version of deployd")

    def get(self, name: str, default: Any = None) -> Any:
        """The field as it is."""
        self.known.add(name)
        return self.value.get(name, default)

    def text(self, name: str, *, kind: str | None = None, longest: int = 1000, default: str | None = None) -> str:
        """A text, of a kind or of printable characters."""
        value = self.get(name, default)
        if not isinstance(value, str) or len(value) > longest or (kind and not matches(kind, value)):
            raise self.wrong(f"{name!r} is not a valid {kind or 'text'}")
        if not kind and any(ord(character) < 32 for character in value):
            raise self.wrong(f"{name!r} has control characters")
        return value

    def texts(self, name: str, *, kind: str, most: int = 1000) -> list[str]:
        """A list of texts of a kind."""
        value = self.get(name, [])
        if not isinstance(value, list) or len(value) > most or not all(matches(kind, item) for item in value):
            raise self.wrong(f"{name!r} is not a list of {kind}s")
        return value

    def whole(self, name: str, low: int, high: int, *, default: int | None = None) -> int:
        """A whole number between two limits."""
        value = self.get(name, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(f"{name!r} is not a whole number from {low} to {high}")
        return value

    def number(self, name: str, low: float, high: float, *, default: float | None = None) -> float:
        """A number between two limits."""
        value = self.get(name, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(f"{name!r} is not a number from {low:g} to {high:g}")
        return float(value)

    def finish(self) -> None:
        """Refuse fields that nobody asked for."""
        unknown = sorted(set(self.value) - self.known)
        if unknown:
            raise self.wrong(f"{unknown[0]!r} is not a field of this helper's version")
