"""What a rollout's events mean to a person: an event and its fields come in, one short line goes out.

The same sentences are the plain output of a pipe and the notes beside stages and hosts of the live view. Every field
may be missing: what a later version leaves out or adds must not break the drawing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployd.cli.render import clean
from deployd.domain.events import Event
from deployd.domain.quantity import format_duration, format_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """`about` is a host, a stage or "" for the whole; `tone` is done, going, warn or plain; `detail` is for `-v`."""

    about: str
    text: str
    tone: str = "plain"
    detail: bool = False


def say(event: Event, fields: Fields) -> Sentence | None:
    """The sentence of one event, or None when it says nothing to people."""
    teller = _TELLERS.get(event)
    return teller(fields) if teller else None


def _join(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


def _seconds(fields: Fields, *names: str) -> str | None:
    value = _first(fields, *(names or ("seconds", "duration_s")))
    return format_duration(float(value)) if isinstance(value, int | float) else None


def _first(fields: Fields, *names: str) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)


def _count(value: Any, noun: str) -> str | None:
    if isinstance(value, list | tuple):
        value = len(value)
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def _size(value: Any, tail: str = "") -> str | None:
    return format_size(value) + tail if isinstance(value, int | float) else None


def _text(value: Any) -> str | None:
    return clean(str(value)) if value not in (None, "") else None


def _confirmation(fields: Fields) -> Sentence:
    until = _text(fields.get("until")) or "its time is over"
    return Sentence(about="", text=f"goes back at {until} unless `deployd confirm` comes first", tone="warn")


def _approval(fields: Fields) -> Sentence:
    who = "somebody else's" if fields.get("by_another") else "a"
    until = _text(fields.get("until"))
    text = f"waits for {who} `deployd approve`" + (f" until {until}" if until else "")
    return Sentence(about="", text=text, tone="warn")


def _host(fields: Fields) -> str:
    return str(fields.get("host") or "")


def _started(fields: Fields) -> Sentence:
    kind = _text(_first(fields, "kind", "verb")) or "rollout"
    where = "/".join(str(fields[name]) for name in ("app", "environment") if fields.get(name))
    hosts = fields.get("hosts")
    on = f"on {', '.join(str(_name(host)) for host in hosts)}" if isinstance(hosts, list | tuple) and hosts else None
    return Sentence(about="", text=" ".join(part for part in (kind, where, on) if part), tone="going")


def _name(host: Any) -> Any:
    return host.get("name") if isinstance(host, dict) else host


def _stage_started(fields: Fields) -> Sentence | None:
    if fields.get("stage") != "build":
        return None  # the others are over in seconds
    return Sentence(about="build", text="running the app's own build", tone="going")


def _stage_finished(fields: Fields) -> Sentence:
    if fields.get("ok") is False:
        return Sentence(about=str(fields.get("stage", "")), text="failed", tone="warn")
    return Sentence(about=str(fields.get("stage", "")), text=_seconds(fields) or "done", tone="done")


def _checked_out(fields: Fields) -> Sentence:
    commit = _text(fields.get("commit"))
    parts = [commit[:7] if commit else None, _text(fields.get("subject"))]
    branch = _text(_first(fields, "branch", "ref"))
    text = " ".join(part for part in parts if part) + (f" ({branch})" if branch else "")
    return Sentence(
        about="source", text=text.strip() + (", with uncommitted work" if fields.get("dirty") else ""), tone="done"
    )


def _not_shipped(fields: Fields) -> Sentence | None:
    files = _first(fields, "files", "paths")
    if not files:
        return None
    names = [clean(str(name)) for name in files][:5] if isinstance(files, list | tuple) else []
    more = f" and {len(files) - 5} more" if isinstance(files, list | tuple) and len(files) > 5 else ""  # noqa: PLR2004
    return Sentence(
        about="source",
        text=f"uncommitted work is not shipped: {', '.join(names)}{more} (--dirty ships it)",
        tone="warn",
    )


def _planned(fields: Fields) -> Sentence:
    framework = " ".join(
        part for part in (_text(fields.get("framework")), _text(fields.get("framework_version"))) if part
    )
    manager = _text(fields.get("manager"))
    node = _text(fields.get("node"))
    return Sentence(
        about="build", text=_join(framework or None, manager, f"Node.js {node}" if node else None), detail=True
    )


def _reused(fields: Fields) -> Sentence:
    return Sentence(
        about="build",
        text=_join("nothing changed: the artifact is there already", _text(fields.get("artifact"))),
        tone="done",
    )


def _packaged(fields: Fields) -> Sentence:
    text = _join(
        _count(fields.get("files"), "file"),
        _size(_first(fields, "size", "bytes")),
        _text(_first(fields, "artifact", "name")),
    )
    return Sentence(about="package", text=text, tone="done")


def _verified(fields: Fields) -> Sentence:
    paths = _count(fields.get("paths"), "path")
    text = "as an earlier trial found" if fields.get("again") else _join(f"{paths} asked" if paths else None)
    return Sentence(about="verify", text=text or "tried alone", tone="done")


def _left_out(fields: Fields) -> Sentence:
    files = _first(fields, "files", "paths") or ()
    names = ", ".join(clean(str(name)) for name in files) if isinstance(files, list | tuple) else str(files)
    return Sentence(about="package", text=f"left out: {names}", detail=True)


def _compared(fields: Fields) -> Sentence:
    missing = _first(fields, "missing", "files")
    size = _size(_first(fields, "bytes_missing", "bytes"))
    if missing in (0, [], ()):
        return Sentence(about=_host(fields), text="has everything already", tone="going")
    return Sentence(
        about=_host(fields),
        text=_join(_count(missing, "file") and f"lacks {_count(missing, 'file')}", size),
        tone="going",
    )


def _sent(fields: Fields) -> Sentence:
    total = _size(fields.get("total"))
    text = _join(_size(fields.get("sent"), f" of {total} sent" if total else " sent"), _text(fields.get("what")))
    return Sentence(about=_host(fields), text=text, tone="going", detail=True)


def _sealed(fields: Fields) -> Sentence:
    text = _join(
        "sealed",
        _count(fields.get("files"), "file"),
        _count(fields.get("linked"), "linked file"),
        _size(_first(fields, "bytes_sent", "sent"), " sent"),
        _seconds(fields),
    )
    return Sentence(about=_host(fields), text=text, tone="going")


def _answered(fields: Fields) -> Sentence:
    status = fields.get("status")
    first = fields.get("first_byte_ms")
    text = _join(
        "healthy" + (f" ({status})" if status else ""),
        f"{first:.0f} ms" if isinstance(first, int | float) else None,
        _seconds(fields, "waited_s", "seconds"),
    )
    return Sentence(about=_host(fields), text=text, tone="going", detail=True)


def _flipped(fields: Fields) -> Sentence:
    micro = fields.get("flip_us")
    text = _join(
        "live",
        f"rename {micro / 1000:.2f} ms" if isinstance(micro, int | float) else None,
        f"before: {fields['previous']}" if fields.get("previous") else None,
    )
    return Sentence(about=_host(fields), text=text, tone="done")


def _back(fields: Fields) -> Sentence:
    to = _text(_first(fields, "to", "release", "current"))
    return Sentence(about=_host(fields), text="flipped back" + (f" to {to}" if to else ""), tone="warn")


def _wave(fields: Fields) -> Sentence:
    wave, waves = fields.get("wave"), _first(fields, "waves", "of")
    return Sentence(about="flip", text=f"wave {wave}" + (f" of {waves}" if waves else ""), tone="done")


def _baked(fields: Fields) -> Sentence:
    left = fields.get("seconds_left")
    still = f"{format_duration(float(round(left)))} left" if isinstance(left, int | float) and left else None
    tone = "warn" if fields.get("outcome") == "worse" else "going"
    hosts = fields.get("hosts")
    on = f"on {', '.join(map(str, hosts))}" if isinstance(hosts, list) and fields.get("waits") else None
    where = " ".join(part for part in (still, on) if part) or None
    return Sentence(about="bake", text=_join(where, _text(fields.get("what"))), tone=tone)


def _pruned(fields: Fields) -> Sentence | None:
    removed = _first(fields, "removed", "releases")
    count = _count(removed, "old release")
    if not removed or not count:
        return None
    return Sentence(about=_host(fields), text=_join(f"{count} removed", _size(fields.get("freed_bytes"))), detail=True)


def _assets_sent(fields: Fields) -> Sentence:
    bucket, sent = _text(fields.get("bucket")), _count(fields.get("sent"), "hashed file")
    what = (
        _join(f"{sent} sent to {bucket}", _size(fields.get("bytes_sent"))) if fields.get("sent") else f"all in {bucket}"
    )
    return Sentence(about="assets", text=what)


def _assets_pruned(fields: Fields) -> Sentence:
    removed = _count(fields.get("removed"), "old file")
    return Sentence(about="assets", text=f"{removed} removed from {_text(fields.get('bucket'))}", detail=True)


def _warning(fields: Fields) -> Sentence:
    text = _text(_first(fields, "what", "message", "text")) or "something is not as it should be"
    fix = _text(fields.get("fix"))
    return Sentence(about=_host(fields), text=text + (f" ({fix})" if fix else ""), tone="warn")


def _plain(about: str, text: str, *, tone: str = "plain", detail: bool = False) -> Callable[[Fields], Sentence]:
    return lambda fields: Sentence(about=about or _host(fields), text=text, tone=tone, detail=detail)


# What says something of its stage: shown beside it.
NOTES = frozenset(
    {
        Event.SOURCE_CHECKED_OUT,
        Event.BUILD_PLANNED,
        Event.BUILD_REUSED,
        Event.ARTIFACT_PACKAGED,
        Event.ARTIFACT_VERIFIED,
        Event.WAVE_FINISHED,
        Event.BAKE_LOOKED,
    }
)

_TELLERS: dict[Event, Callable[[Fields], Sentence | None]] = {
    Event.ROLLOUT_STARTED: _started,
    Event.STAGE_STARTED: _stage_started,
    Event.STAGE_FINISHED: _stage_finished,
    Event.SOURCE_CHECKED_OUT: _checked_out,
    Event.WORK_NOT_SHIPPED: _not_shipped,
    Event.BUILD_PLANNED: _planned,
    Event.BUILD_OUTPUT: lambda fields: Sentence(about="build", text=_text(fields.get("line")) or "", detail=True),
    Event.BUILD_REUSED: _reused,
    Event.INSTALL_SKIPPED: _plain("build", "packages are installed already: the lock file is unchanged", detail=True),
    Event.ARTIFACT_PACKAGED: _packaged,
    Event.ARTIFACT_VERIFIED: _verified,
    Event.ASSETS_SENT: _assets_sent,
    Event.ASSETS_PRUNED: _assets_pruned,
    Event.FILES_LEFT_OUT: _left_out,
    Event.HOST_CONNECTED: _plain("", "connected", tone="going", detail=True),
    Event.HOST_COMPARED: _compared,
    Event.BYTES_SENT: _sent,
    Event.RELEASE_SEALED: _sealed,
    Event.COMMAND_OUTPUT: lambda fields: Sentence(about=_host(fields), text=_text(fields.get("line")) or ""),
    Event.RELEASE_STARTED: _plain("", "started", tone="going", detail=True),
    Event.PROBE_ANSWERED: _answered,
    Event.RELEASE_PREPARED: _plain("", "prepared", tone="going"),
    Event.RELEASE_FLIPPED: _flipped,
    Event.RELEASE_FLIPPED_BACK: _back,
    Event.WAVE_FINISHED: _wave,
    Event.BAKE_LOOKED: _baked,
    Event.RELEASE_DRAINED: _plain("", "old release drained", detail=True),
    Event.RELEASES_PRUNED: _pruned,
    Event.CONFIRMATION_WANTED: _confirmation,
    Event.APPROVAL_WANTED: _approval,
    Event.CANCEL_REQUESTED: _plain("", "cancelling: what was started is turned back", tone="warn"),
    Event.WARNING: _warning,
    Event.LOG_LINE: lambda fields: Sentence(
        about=_host(fields), text=_text(_first(fields, "message", "line")) or "", detail=True
    ),
}
