"""A payload's JSON comes in, checked texts, numbers and commits go out; whatever is not as expected is one error.

What a forge sends is bounded here: lengths, control characters, lone surrogates (which no database takes).
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from deployd.errors import UsageError

_LONGEST = 250
_LONGEST_MESSAGE = 4000
_MOST_FILES = 3000
_FORM_FIELDS = 10
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_ZEROS = re.compile(r"0{40}(?:0{24})?")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# what `git check-ref-format` refuses, and a leading '-'
_BAD_REF = re.compile(
    r"^(?:refs/(?:heads|tags)/)?[-/]|[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/$|\.$|\.lock$|^@$|(?:^|/)\.|\.lock/"
)


def malformed(what: str) -> UsageError:
    """The one error of a payload that cannot be read."""
    return UsageError(
        f"the delivery cannot be read: {what}",
        code="hook-malformed",
        fix="see the delivery on the forge's page of the webhook; the content type should be application/json",
    )


class Payload:
    """One object of the payload; every getter raises the error of `malformed` for what is not there."""

    __slots__ = ("_path", "_values")

    def __init__(self, values: Any, path: str = "") -> None:
        if not isinstance(values, dict):
            raise malformed(f"{path or 'the payload'} is no object")
        self._values = values
        self._path = path

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self._values.get(key) is not None

    def part(self, key: str) -> Payload:
        """An object."""
        return Payload(self._values.get(key), self._name(key))

    def parts(self, key: str) -> list[Payload]:
        """A list of objects; a missing one is empty."""
        return [Payload(value, self._name(key)) for value in self._list(key)]

    def text(self, key: str) -> str:
        """A text of at most 250 characters without control characters."""
        value = self._values.get(key)
        if not isinstance(value, str) or not value or len(value) > _LONGEST or _CONTROL.search(value):
            raise malformed(f"{self._name(key)} is no text of at most {_LONGEST} characters")
        return _clean(value)

    def maybe(self, key: str) -> str | None:
        """A text for people, cut to what is shown; None when it is not there."""
        value = self._values.get(key)
        return _clean(_CONTROL.sub(" ", value[:_LONGEST])) if isinstance(value, str) and value else None

    def message(self, key: str) -> str | None:
        """A commit's message, cut."""
        value = self._values.get(key)
        return _clean(value[:_LONGEST_MESSAGE]).replace("\0", " ") if isinstance(value, str) else None

    def number(self, key: str) -> int:
        """A whole number from 1."""
        value = self._values.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**53:
            raise malformed(f"{self._name(key)} is no number")
        return value

    def count(self, key: str) -> int | None:
        """A whole number from 0, or None."""
        value = self._values.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None

    def flag(self, key: str) -> bool:
        """True only for true."""
        return self._values.get(key) is True

    def moment(self, key: str) -> float | None:
        """A time in Unix seconds, from text (GitLab writes `2026-11-22 04:00:00 UTC` too) or milliseconds; or None."""
        value = self._values.get(key)
        if isinstance(value, int) and not isinstance(value, bool):
            return value / 1000
        try:
            read = datetime.fromisoformat(str(value).replace(" UTC", "+00:00"))
            return read.replace(tzinfo=read.tzinfo or UTC).timestamp()
        except (ValueError, OverflowError):
            return None

    def ref(self, key: str) -> str:
        """A branch's or tag's name, or a whole ref, as git allows it."""
        return checked_ref(self.text(key), self._name(key))

    def commit(self, key: str) -> str | None:
        """A commit's id; None when it is null or all zeros, as forges write "none"."""
        value = self._values.get(key)
        if value is None or (isinstance(value, str) and _ZEROS.fullmatch(value)):
            return None
        if not isinstance(value, str) or not _COMMIT.fullmatch(value):
            raise malformed(f"{self._name(key)} is no commit")
        return value

    def files(self, *keys: str) -> list[str] | None:
        """The paths in several lists; None when a list is missing, or one of its paths is no text."""
        found: list[str] = []
        for key in keys:
            value = self._values.get(key)
            if not isinstance(value, list):
                return None
            for path in value:
                if not isinstance(path, str):
                    return None
                found.append(_clean(path))
        return found

    def _list(self, key: str) -> list[Any]:
        value = self._values.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise malformed(f"{self._name(key)} is no list")
        return value

    def _name(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key


def of_form(body: bytes, content_type: str) -> bytes | None:
    """The field `payload` of a form; b"" when it is not there, None when the body is no form."""
    if content_type.partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return None
    try:
        fields = parse_qs(body.decode("ascii"), max_num_fields=_FORM_FIELDS)
        return fields.get("payload", [""])[0].encode()
    except ValueError:
        return b""


def read(body: bytes, *, content_type: str) -> Payload:
    """The payload of a body: JSON, or a form whose field `payload` is JSON."""
    try:
        inner = of_form(body, content_type)
        return Payload(json.loads((body if inner is None else inner).decode("utf-8")))
    except (ValueError, RecursionError) as error:
        raise malformed("it is no JSON") from error


def split_ref(ref: str) -> tuple[str, str] | None:
    """`refs/heads/main` -> ("branch", "main"); None for a ref that is neither branch nor tag."""
    for prefix, kind in (("refs/heads/", "branch"), ("refs/tags/", "tag")):
        if ref.startswith(prefix) and len(ref) > len(prefix):
            return kind, ref[len(prefix) :]
    return None


def checked_ref(name: str, where: str) -> str:
    """The name, when git would take it as a ref."""
    if _BAD_REF.search(name):
        raise malformed(f"{where} is no ref")
    return name


def changed_files(commits: list[Payload], *, complete: bool) -> tuple[str, ...] | None:
    """The files of a push's commits, sorted; None when the list cannot be relied on."""
    if not complete or not commits:
        return None
    found: set[str] = set()
    for commit in commits:
        files = commit.files("added", "removed", "modified")
        if files is None:
            return None
        found.update(files)
    return tuple(sorted(found)) if len(found) <= _MOST_FILES else None


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
