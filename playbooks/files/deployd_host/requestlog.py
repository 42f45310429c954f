"""An app comes in; the rules by which the web server writes down its requests go out, and what it wrote in a window.

A line tells when, how it ended, how long it took, how much was sent, which release answered, and the path. No address
of a visitor, no query, no header is in it. Files turn over at a size, so a disk never fills up with them; one that is
full costs lines, and no request.
"""

from __future__ import annotations

import os

from deployd_host.paths import ROOT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from deployd_host.places import Place

LOGS = ROOT + "/var/lib/deployd-web/requests"
SIZE = 16  # MiB of one file
KEPT = 3  # files besides the one that is written
BEACON = 4096  # bytes of what a page tells of itself
_BLOCK = 1 << 20
_SLACK = 2.0  # seconds by which one line may be older than the line before it
_LONGEST_LINE = 1 << 16


def log_path(place: Place, kind: str) -> str:
    """Where the web server writes: `requests`, or the pages' own `vitals`."""
    return f"{LOGS}/{kind}-{place.name}.log"


def request_log(place: Place) -> str:
    """Snippets: what visitors' blocks import to be counted, and how a page tells of itself.

    The path is written as it was asked for, before any rewriting; the release is known only when all is decided, and
    so is whether the answer is a stream of events.
    """
    return f"""\
({place.name}-log) {{
{_log_block(place, "requests", SIZE, KEPT)}\
{_log_block(place, "vitals", 1, 2, name="no_hostname")}\
}}

({place.name}-counted) {{
	map {{http.response.header.Content-Type}} {{deployd_stream}} {{
		~^text/event-stream yes
		default ""
	}}
	log_append stream {{deployd_stream}}
	log_append release {{vars.rel}}
	log_append path {{http.request.orig_uri.path}}
}}

# What a page tells of itself is kept as it is, a little of it, and answered here; nothing of it reaches the app.
({place.name}-vitals) {{
	@vitals path /_deployd/vitals
	route @vitals {{
		header Cache-Control no-store
		@foreign header Sec-Fetch-Site cross-site
		route @foreign {{
			log_skip
			respond 403
		}}
		@asked not method POST
		route @asked {{
			log_skip
			header Allow POST
			respond 405
		}}
		@long header_regexp Content-Length ^[0-9]{{5,}}$
		route @long {{
			log_skip
			respond 413
		}}
		request_body {{
			max_size {BEACON}
		}}
		vars beacon {{http.request.body}}
		log_name vitals-{place.name}
		log_append beacon {{vars.beacon}}
		respond 204
	}}
}}
"""


def _log_block(place: Place, kind: str, size: int, kept: int, name: str = "") -> str:
    dropped = ("request", "resp_headers", "user_id", "bytes_read")
    own = f"\t\t{name}\n" if name else ""
    return f"""\
	log {kind}-{place.name} {{
{own}\
		output file {log_path(place, kind)} {{
			mode 0600
			dir_mode 0700
			roll_size {size}MiB
			roll_keep {kept}
			roll_uncompressed
		}}
		format filter {{
			wrap json {{
				level_key ""
				name_key ""
				message_key ""
			}}
			fields {{
{"".join(f"				{field} delete{chr(10)}" for field in dropped)}\
			}}
		}}
	}}
"""


def lines_between(place: Place, kind: str, since: float, until: float) -> Iterator[tuple[float, bytes]]:
    """Each line that was written between two moments, oldest file first, with its time.

    The web server owns the folder, so nothing in it is trusted to be a plain file.
    """
    for fd in _open_files(log_path(place, kind), since):
        try:
            yield from _lines_of(fd, since, until)
        finally:
            os.close(fd)


def first_moment(place: Place, kind: str) -> float | None:
    """The time of the oldest line that is kept, where older ones are gone; None while all are there."""
    path = log_path(place, kind)
    if len(_turned_over(path)) < KEPT:
        return None
    files = _open_files(path, None)
    try:
        return next((at for fd in files if (at := _moment_after(fd, 0)[0]) is not None), None)
    finally:
        for fd in files:
            os.close(fd)


def remove_logs(place: Place) -> int:
    """Take away what was written; returns the bytes."""
    freed = 0
    for kind in ("requests", "vitals"):
        path = log_path(place, kind)
        for name in (path, *_turned_over(path)):
            try:
                freed += os.lstat(name).st_size
                os.unlink(name)
            except OSError:
                continue
    return freed


def _turned_over(path: str) -> list[str]:
    """The older files beside the one that is written, oldest first."""
    import re

    folder, name = os.path.split(path)
    stem = re.escape(name.removesuffix(".log"))
    pattern = re.compile(stem + r"-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}(?:-[a-z]+)?\.log")
    try:
        found = sorted(os.listdir(folder))
    except OSError:
        return []
    return [f"{folder}/{one}" for one in found if pattern.fullmatch(one)]


def _open_files(path: str, since: float | None) -> list[int]:
    """The files, oldest first; those that ended before `since` are left out."""
    import stat

    # the one that is written is opened first: should it be turned over now, it is met again, and known by its number
    newest = [path]
    opened: dict[tuple[int, int], int] = {}
    for name in (*newest, *reversed(_turned_over(path))):
        try:
            fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            continue
        found = os.fstat(fd)
        key = (found.st_dev, found.st_ino)
        old = since is not None and found.st_mtime < since - _SLACK
        if not stat.S_ISREG(found.st_mode) or key in opened or old:
            os.close(fd)
            continue
        opened[key] = fd
    return list(opened.values())[::-1]


def _lines_of(fd: int, since: float, until: float) -> Iterator[tuple[float, bytes]]:
    at = _offset_of(fd, since - _SLACK)
    rest = b""
    while chunk := os.pread(fd, _BLOCK, at):
        at += len(chunk)
        *whole, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LONGEST_LINE:
            rest = b""
        for line in whole:
            moment = _moment(line)
            if moment is None or moment < since:
                continue
            if moment >= until + _SLACK:
                return
            if moment < until:
                yield moment, line


def _offset_of(fd: int, since: float) -> int:
    """Where in a file the lines from `since` on begin: times grow, so half of what is left is dropped each time."""
    low, high = 0, os.fstat(fd).st_size
    while high - low > _LONGEST_LINE:
        middle = (low + high) // 2
        moment, _ = _moment_after(fd, middle)
        if moment is not None and moment < since:
            low = middle
        else:
            high = middle
    return _moment_after(fd, low)[1] if low else 0


def _moment_after(fd: int, at: int) -> tuple[float | None, int]:
    """The time of the first whole line from here on, and where it begins."""
    data = os.pread(fd, 2 * _LONGEST_LINE, at)
    begin = 0 if at == 0 else data.find(b"\n") + 1
    for line in data[begin:].split(b"\n"):
        moment = _moment(line)
        if moment is not None:
            return moment, at + begin
        begin += len(line) + 1
    return None, at


def _moment(line: bytes) -> float | None:
    """The time that a line begins with: `{"ts":1795290358.6856773,...`."""
    if not line.startswith(b'{"ts":'):
        return None
    try:
        return float(line[6 : line.index(b",", 6)])
    except ValueError:
        return None
