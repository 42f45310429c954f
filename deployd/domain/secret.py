"""A value that must not be seen: it has no useful text, pickle or JSON form.

Nothing but `reveal()` gives it back, so that every place which does can be found by searching for that word.
"""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """Wraps a secret text; equality is by constant-time comparison."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        msg = "a Secret is not pickled: pass the name under which the store keeps it"
        raise TypeError(msg)
