"""An app and a time come in, what its visitors asked for since then goes out, as a small series."""

from __future__ import annotations

import time

from deployd_host.replies import bad_request
from deployd_host.requestlog import first_moment, lines_between
from deployd_host.routes import Routes, routes_of
from deployd_host.tally import Tally, Vitals, fill
from deployd_host.words import matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.calls import Call
    from deployd_host.replies import Json

DAY = 86_400.0
SETTLED = 0.3  # seconds after which the web server has written what ended before
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": DAY}


def verb_traffic(call: Call) -> Json:
    """Count what was asked for between two moments. By this host's clock: the next call goes on at `until`."""
    place, options, now = call.place, call.options, time.time()
    since = _moment(options.get("--since", "15m"), now)
    until = min(_moment(options["--until"], now) if "--until" in options else now, now - SETTLED)
    since = max(since, now - 31 * DAY)
    step = int(options.get("--step", "60"))
    if step > DAY:
        raise bad_request("--step is more than a day")

    def routes(release: str) -> Routes:
        return routes_of(place, release) if matches("release", release) else Routes()

    tally = Tally(since, step, routes, warm="--skip-first" not in options)
    vitals = Vitals(since, step, routes)
    if since < until:
        fill(tally, lines_between(place, "requests", since, until))
        fill(vitals, lines_between(place, "vitals", since, until))
    return {
        "now": now,
        "since": since,
        "until": max(since, until),
        "oldest": first_moment(place, "requests"),
        "series": tally.series(),
        "vitals": vitals.series(),
        "skipped": tally.skipped + vitals.skipped,
    }


def _moment(text: str, now: float) -> float:
    if text.startswith("@"):
        return float(text[1:])
    return now - int(text[:-1]) * _UNITS[text[-1]]
