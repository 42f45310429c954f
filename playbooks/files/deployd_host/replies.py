"""A verb's fields or a refusal come in, one JSON document on a line of its own goes out."""

from __future__ import annotations

import os

from deployd_host.paths import EXIT_FAILED, EXIT_REFUSED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]


class RefusedError(Exception):
    """What a person must be told: the reply's `code`, `what`, `fix` and `details`, and the exit code."""

    def __init__(self, code: str, what: str, *, fix: str, details: Any = None, exit_code: int = EXIT_FAILED) -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.fix = fix
        self.details = details
        self.exit_code = exit_code


def bad_request(what: str) -> RefusedError:
    """The refusal of a call that no deployd of this version makes."""
    return RefusedError(
        "bad-request",
        what,
        fix="use a deployd of the version that bootstrapped this host, or bootstrap it again",
        exit_code=EXIT_REFUSED,
    )


def tell(error: RefusedError, *, live: str | None, to: int = 1) -> int:
    """Write the reply of a call that was refused or failed."""
    say(refusal(error, live=live), to=to)
    return error.exit_code


def refusal(error: RefusedError, *, live: str | None) -> Json:
    """The reply of a call that was refused or failed."""
    return {
        "ok": False,
        "code": error.code,
        "what": error.what,
        "fix": error.fix,
        "details": error.details,
        "live": live,
    }


def say(reply: Json, *, to: int = 1) -> None:
    """Write one JSON document on a line of its own."""
    import json

    data = (json.dumps(reply, separators=(",", ":")) + "\n").encode()
    while data:
        data = data[os.write(to, data) :]
