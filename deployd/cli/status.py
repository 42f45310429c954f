"""`deployd status`: what is live where."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from deployd.cli.draining import drained_here
from deployd.cli.render import clean
from deployd.cli.verbs import verb
from deployd.domain.quantity import format_duration
from deployd.errors import on_host

if TYPE_CHECKING:
    from deployd.cli.context import Cli
    from deployd.rollouts.wishes import HostState, Pin, Status

PARTLY_LIVE = 3
UNREACHABLE = 6
_STATES = {"live": "green", "empty": "dim", "unreachable": "red", "failed": "red", "down": "red"}


@verb(example="deployd status --json")
def status(cli: Cli) -> int:
    """Show what is live on each host. Changes nothing and waits for nobody.

    Exits with 3 when the hosts differ, and with 6 when one cannot be asked.
    """
    app, environment = cli.where
    found = cli.client.status(app, environment, cli.hosts())
    if cli.options.json:
        cli.out.document(found.to_json())
    else:
        _draw(cli, found)
    if found.mixed:
        return PARTLY_LIVE
    return UNREACHABLE if any(host.state in {"unreachable", "failed"} for host in found.hosts) else 0


def ago(text: str | None, *, now: datetime | None = None) -> str:
    """A time as people say it: `2 h 10 m ago`; the text itself when it is no time."""
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    return "just now" if seconds < 1 else f"{format_duration(float(int(seconds))).replace('.0 s', ' s')} ago"


def _draw(cli: Cli, found: Status) -> None:
    out = cli.out
    out.line(out.paint(f"{found.app} {found.environment}", "bold"))
    if found.mixed:
        release = out.paint("the hosts differ", "red", "bold")
    elif found.release:
        marks = [mark for mark in (found.mark, "dirty" if found.dirty else None) if mark]
        release = " ".join([out.paint(str(found.release), "bold"), *(out.paint(mark, "yellow") for mark in marks)])
    elif found.hosts and all(host.state == "unreachable" for host in found.hosts):
        release = "not known: no host could be asked"
    else:
        release = "nothing is live yet"
    out.pairs(
        [
            ("  release", release),
            ("  commit", (found.commit or "")[:7]),
            ("  since", ago(found.since)),
            ("  previous", str(found.previous or "")),
            ("  pinned", _pin(found.pin)),
            ("  unconfirmed", _unconfirmed(found)),
            ("  frozen", _freeze(found)),
            ("  waits", _approval(found)),
            ("  maintenance", _maintenance(found)),
            ("  canary", _canary(found)),
            ("  drained", drained_here([(str(host.name), host.drained) for host in found.hosts])),
            ("  certificate", _certificate(found)),
            ("  rollout", _rollout(found)),
        ]
    )
    out.line()
    rows = [
        (
            out.paint(str(host.name), "cyan"),
            host.address,
            str(host.release or "-"),
            out.paint(host.state, _STATES.get(host.state, "yellow")),
            _servers(cli, host),
            host.url or "",
        )
        for host in found.hosts
    ]
    out.table(("HOST", "ADDRESS", "RELEASE", "STATE", "RUNNING", "URL"), rows)
    for host in found.hosts:
        if host.restarts:
            times = "once" if host.restarts == 1 else f"{host.restarts} times"
            out.warn(
                f"{host.name}: the app's server ended by itself {times}; `deployd logs --host {host.name}` says why"
            )
        if host.error:
            out.warn(f"{on_host(host.name, str(host.error.get('what')))}; {host.error.get('fix')}")
    if found.mixed and (found.rollout or {}).get("alive"):
        out.next(f"deployd watch {(found.rollout or {})['id']}", "deployd rollback")
    elif found.mixed:
        out.next("deployd resume" if found.rollout else "deployd release", "deployd rollback")
    elif not found.release and all(host.state == "empty" for host in found.hosts):
        out.next("deployd release --plan", "deployd release")


def _servers(cli: Cli, host: HostState) -> str:
    """How many run of how many, and how often one ended by itself."""
    if host.state == "live" and not host.wanted:
        return "static"
    ended = f"{host.restarts} restart{'' if host.restarts == 1 else 's'}"
    return f"{host.instances}/{host.wanted}" + (f", {cli.out.paint(ended, 'yellow')}" if host.restarts else "")


def _rollout(found: Status) -> str:
    """What goes on; of a bake for how long still, and what was seen until now."""
    one = found.rollout
    if not one:
        return ""
    text = f"{one.get('id')} {one.get('state')}"
    if one.get("alive") is False:
        return f"{text}; its process is gone: `deployd resume`"
    if one.get("state") != "baking":
        return text
    if one.get("seconds_left") is not None:
        text += f", {format_duration(float(round(one['seconds_left']))).replace('.0 s', ' s')} left"
    watched = [clean(str(name)) for name in one.get("watched") or ()]
    if watched and one.get("waiting"):
        text += f" on {', '.join(watched)} before the other hosts get it"
    return f"{text}; {clean(str(one['what']))}" if one.get("what") else text


def _unconfirmed(found: Status) -> str:
    if not found.unconfirmed:
        return ""
    back = found.unconfirmed.get("back_to") or "the last good release"
    until = _clock(found.unconfirmed.get("until"))
    return f"until {until}, then back to {back}; `deployd confirm` keeps it"


def _freeze(found: Status) -> str:
    if not found.freeze:
        return ""
    reason = f" ({clean(str(found.freeze['reason']))})" if found.freeze.get("reason") else ""
    return f"until {_clock(found.freeze.get('until'))} by {clean(str(found.freeze.get('who')))}{reason}"


def _approval(found: Status) -> str:
    if not found.approval:
        return ""
    asked = f"{found.approval.get('release')}, asked by {clean(str(found.approval.get('asked_by')))}"
    return f"{asked}, for `deployd approve` until {_clock(found.approval.get('until'))}"


def _certificate(found: Status) -> str:
    """Only of one that ends soon; others are nothing to look at."""
    served = [host.certificate for host in found.hosts if host.certificate]
    missing = sorted({name for one in served for name in one.get("missing") or ()})
    if missing:
        return f"none yet for {', '.join(missing)}: http is answered meanwhile; `deployd domain check` says why"
    ends = min((str(one["until"]) for one in served if one["soon"]), default="")
    if not ends:
        return ""
    left = (datetime.fromisoformat(ends) - datetime.now(UTC)).total_seconds()
    how = f"ends in {format_duration(left)}" if left > 0 else f"EXPIRED {format_duration(-left)} ago"
    return f"{how}; `deployd domain check` says what to do"


def _maintenance(found: Status) -> str:
    away = [host for host in found.hosts if host.maintenance]
    if not away:
        return ""
    where = "" if len(away) == len(found.hosts) else f" on {', '.join(str(host.name) for host in away)}"
    since = min(str((host.maintenance or {}).get("since")) for host in away)
    return f"visitors get 503{where}, {ago(since)}; `deployd maintenance off` lets them in"


def _canary(found: Status) -> str:
    some = [host.canary for host in found.hosts if host.canary]
    if not some:
        return ""
    where = "" if len(some) == len(found.hosts) else f" on {len(some)} of {len(found.hosts)} hosts"
    share = f"{some[0]['percent']:g}% of visitors get {some[0]['release']}{where}"
    return f"{share}; then `deployd release --finish`, or `deployd rollback`"


def _clock(text: object) -> str:
    return datetime.fromisoformat(str(text)).astimezone().strftime("%Y-%m-%d %H:%M:%S %z") if text else "?"


def _pin(pin: Pin | None) -> str:
    if pin is None:
        return ""
    at = f"at {pin.release} " if pin.release else ""
    why = "by a rollback" if pin.automatic else f"by {pin.who}"
    return f"{at}{why}, {ago(pin.at)}; `deployd unpin` lets automatic releases go on"
