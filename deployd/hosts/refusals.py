"""The helper's refusals as errors: a reply's JSON (or what came instead of one) comes in, a HostError goes out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from deployd.errors import HostError, HostLockedError, ProbeError
from deployd.hosts import causes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import BinaryIO

    from deployd.domain.ids import HostName

_CLASSES: Mapping[str, type[HostError]] = {"lock-held": HostLockedError, "probe-failed": ProbeError}
NOTHING_LIVE = "nothing: no release was live there yet"
NO_LINK = "nothing: `current` leads to no release there"
_NOT_FOUND = 127
_REFUSAL = b'{"ok":false,"code":"'
_FIELDS = {"ok", "code", "what", "fix", "details", "live"}
_REFUSED = (1, 126)  # the helper's own exit codes
_LONGEST = 100_000


def refusal(data: Mapping[str, Any], *, host: HostName) -> HostError:
    """The error of a reply that says `"ok": false`."""
    code = str(data.get("code") or "host-failed")
    kind = _CLASSES.get(code, HostError)
    details = data.get("details")
    what = str(data.get("what") or code)
    return kind(
        what if host in what else f"{host}: {what}",
        code=code,
        host=host,
        live=str(data["live"]) if data.get("live") else NO_LINK if code == "current-not-link" else NOTHING_LIVE,
        details=probe_details(details) if kind is ProbeError and isinstance(details, dict) else render(details),
        fix=str(data.get("fix") or f"see `deployd host check {host}`"),
        retryable=code in {"lock-held", "disk-full"},
    )


def no_reply(exit_code: int, stdout: bytes, stderr: bytes, *, host: HostName, doing: str) -> HostError:
    """The error when something else than the helper's JSON came."""
    said = (stdout + b"\n" + stderr).decode(errors="replace").strip()[-2000:]
    missing = exit_code == _NOT_FOUND
    return HostError(
        f"{host} has no working deployd helper: `{doing}` "
        + ("was not found there" if missing else f"exited with {exit_code} and gave no reply that can be read"),
        code="helper-missing" if missing else "helper-reply",
        host=host,
        live=causes.NOT_ASKED,
        details=said or None,
        fix=f"run `deployd host bootstrap {host}`: it installs the helper",
    )


def probe_details(details: Mapping[str, Any]) -> str:
    """What a failed probe saw, as lines: where, how often, the last answer, and what the server wrote last."""
    lines = [
        f"asked     {details.get('address', '?')}",
        f"waited    {float(details.get('waited_s') or 0):.1f} s, {details.get('attempts', '?')} attempts",
        f"last      {_last(details)}",
    ]
    if details.get("exited"):
        lines.append(f"process   exited, started again {details.get('restarts', 0)} times")
    log = details.get("log") or []
    if log:
        lines += ["log       the server's last lines:", *(f"  {_text(line)}" for line in log)]
    else:
        lines.append("log       the server wrote nothing")
    return "\n".join(lines)


def _last(details: Mapping[str, Any]) -> str:
    parts = []
    if details.get("last_status") is not None and not str(details.get("last_error")).startswith("status "):
        parts.append(f"status {details['last_status']}")
    if details.get("last_error"):
        parts.append(str(details["last_error"]))
    return ", ".join(parts) or "no answer"


def _text(line: object) -> str:
    return str(line.get("message", line)) if isinstance(line, dict) else str(line)


def render(details: object) -> str | None:
    """A reply's `details` for people."""
    if details is None or isinstance(details, str):
        return details or None
    if isinstance(details, dict):
        if isinstance(details.get("log"), list):
            rest = {key: value for key, value in details.items() if key != "log"}
            head = render(rest)
            return "\n".join(([head] if head else []) + [f"  {_text(line)}" for line in details["log"]]) or None
        width = max((len(str(key)) for key in details), default=0)
        return "\n".join(f"{key!s:<{width}}  {_value(value)}" for key, value in details.items()) or None
    if isinstance(details, list):
        return "\n".join(_value(item) for item in details) or None
    return _value(details)


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class Output:
    """Passes a command's output on, and holds back what may be the helper's refusal in its place."""

    def __init__(self, to: BinaryIO) -> None:
        self._to = to
        self._held: bytearray | None = bytearray()

    def write(self, data: bytes) -> None:
        """More of the output."""
        if self._held is not None:
            self._held += data
            size = min(len(self._held), len(_REFUSAL))
            if self._held[:size] == _REFUSAL[:size] and len(self._held) < _LONGEST:
                return
            data, self._held = bytes(self._held), None
        self._to.write(data)
        self._to.flush()

    def end(self, exit_code: int) -> Mapping[str, Any] | None:
        """The refusal if it was one; otherwise what was held back goes out now."""
        held, self._held = bytes(self._held or b""), None
        try:
            found = json.loads(held) if exit_code in _REFUSED else None
        except ValueError:
            found = None
        if isinstance(found, dict) and set(found) == _FIELDS:
            return found
        if held:
            self._to.write(held)
            self._to.flush()
        return None
