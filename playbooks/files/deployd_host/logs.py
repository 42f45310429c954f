"""The journal comes in, an app's log lines go out."""

from __future__ import annotations

import os

from deployd_host.paths import JOURNALCTL, LOG_TAIL, ROOT
from deployd_host.places import require_process
from deployd_host.programs import launch, run
from deployd_host.replies import say
from deployd_host.words import PATTERNS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from deployd_host.calls import Call
    from deployd_host.places import Place
    from deployd_host.replies import Json


def _journal_matches(place: Place, releases: Sequence[str]) -> list[str]:
    """The app's own lines, and what systemd says of the units of these releases."""
    words = [f"SYSLOG_IDENTIFIER=deployd-{place.name}"]
    for release in releases:
        for unit in place.service_units(release):
            words += ["+", "_PID=1", f"UNIT={unit}"]
    return words


def log_tail(place: Place, release: str) -> list[str]:
    """The last lines of one release: the app's, and what systemd says of its end."""
    if ROOT and JOURNALCTL == "/usr/bin/journalctl":
        return []
    argv = [JOURNALCTL, "--no-pager", "--quiet", "--output=json", "--all", f"--lines={LOG_TAIL * 5}"]
    done = run([*argv, *_journal_matches(place, [release])], timeout=10)
    return [
        line["message"]
        for line in LogReader(place, release).lines(done.out.encode() + b"\n")
        if line["stream"] == "app" or "process exited" in line["message"] or "Failed" in line["message"]
    ][-LOG_TAIL:]


def verb_logs(call: Call) -> int:
    """Write the app's log, one JSON document a line."""
    import select

    place, options = call.place, call.options
    only = options.get("--release")
    if only or all(place.is_static(one) for one in place.kept()):
        require_process(
            place,
            only or place.live(),
            "it has no process that could write a log",
            "the web server's own messages are in `journalctl -u deployd-web` on the host",
        )
    argv, backwards = _asked(options)
    releases = [only] if only else place.kept()
    pid, out, error = launch([*argv, *_journal_matches(place, releases)])
    reader = LogReader(place, only)
    newest_first: list[Json] = []
    poll = select.poll()
    poll.register(out, select.POLLIN)
    poll.register(1, 0)  # an error on stdout means that nobody reads any more
    try:
        while True:
            events = dict(poll.poll())
            if 1 in events:
                break
            chunk = os.read(out, 1 << 16)
            if not chunk:
                break
            for line in reader.lines(chunk):
                newest_first.append(line) if backwards else say(line)
        for line in reversed(newest_first):
            say(line)
    except BrokenPipeError:
        return 0
    finally:
        os.close(out)
        os.close(error)
        os.kill(pid, 15)
        os.waitpid(pid, 0)
    return 0


def _asked(options: Mapping[str, str]) -> tuple[list[str], bool]:
    """What journalctl is asked, and whether it tells the newest line first.

    From a moment on it counts lines from the oldest one, unless it goes backwards.
    """
    argv = [JOURNALCTL, "--no-pager", "--quiet", "--output=json", "--all", f"--lines={options.get('-n', '100')}"]
    if "--since" in options:
        since = options["--since"]
        argv.append(f"--since={since}" if since.startswith("@") else f"--since=-{since}")
    if "-f" in options:
        return [*argv, "--follow"], False
    backwards = "--since" in options
    return [*argv, *(["--reverse"] if backwards else [])], backwards


class LogReader:
    """Journal entries in pieces -> our log lines. Entries that another unit wrote under our name are left out."""

    def __init__(self, place: Place, only: str | None) -> None:
        import re

        self.unit = re.compile(rf"deployd-{place.name}-([0-9]+)@({only or PATTERNS['release']})\.service")
        self.rest = b""

    def lines(self, chunk: bytes) -> Iterator[Json]:
        """The log lines that are whole with this piece."""
        import json

        *whole, self.rest = (self.rest + chunk).split(b"\n")
        for data in whole:
            try:
                entry = json.loads(data)
            except ValueError:
                continue
            line = self._line(entry)
            if line:
                yield line

    def _line(self, entry: Json) -> Json | None:
        from_systemd = entry.get("_PID") == "1"
        found = self.unit.fullmatch(str(entry.get("UNIT" if from_systemd else "_SYSTEMD_UNIT", "")))
        if not found:
            return None
        message = entry.get("MESSAGE")
        if isinstance(message, list):  # bytes that are not text
            message = bytes(message).decode(errors="replace")
        return {
            "time": int(entry.get("__REALTIME_TIMESTAMP", 0)) / 1e6,
            "release": found[2],
            "instance": int(found[1]),
            "message": str(message),
            "stream": "systemd" if from_systemd else "app",
        }
