"""`domain check`: a site and its hosts come in, findings go out, each with what to change. It changes nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from deployd.certificates import reading, visiting
from deployd.domain import sites
from deployd.domain.quantity import format_duration

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from deployd.certificates.reading import Certificate
    from deployd.domain.options import Run

Level = Literal["ok", "warn", "error"]
_PERMANENT = (301, 308)
_EARLY = 307
_MISSING = 404
_BROKEN = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at, for a name, at a host (None: for all). `fix` is there when it is not `ok`."""

    name: str
    host: str | None
    level: Level
    what: str
    fix: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As in `domain check --json`."""
        return {"name": self.name, "host": self.host, "level": self.level, "what": self.what, "fix": self.fix}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is looked at: the options, each host's addresses, the names' own where the operator gave them."""

    run: Run
    hosts: Mapping[str, Sequence[str]]
    given: Mapping[str, Sequence[str]]
    trusting: Sequence[Path] = ()


def check(name: str, question: Question) -> tuple[Finding, ...]:
    """Everything about one name."""
    asked = f"deployd-check{name[1:]}" if name.startswith("*") else name
    found = [*_dns(name, asked, question)]
    for host, places in question.hosts.items():
        for address in places[:1]:
            shown = None
            if sites.way_of(question.run) != "off":
                shown = visiting.ask_secure(asked, address, trusting=question.trusting)
            found += _plain(name, asked, host, address, question, shown=shown)
            if shown:
                found += _secure(name, host, address, question, shown)
    return tuple(found)


def judge_certificate(
    name: str, host: str | None, found: Certificate, *, run: Run | None, now: float
) -> Iterator[Finding]:
    """Whether a certificate is good for a name, and for how long."""

    def finding(level: Level, what: str, fix: str | None = None) -> Finding:
        return Finding(name=name, host=host, level=level, what=what, fix=fix)

    own = run is not None and isinstance(run.tls, tuple)
    renew = "renew it and release again: its file is read at each release" if own else "`deployd domain renew`"
    if run is not None and sites.way_of(run) == "acme":
        renew = f"{host or 'the host'} renews it by itself; why it does not: `journalctl -u deployd-web` there"
    left = found.left(now)
    if sites.uncovered([name], found.names):
        yield finding("error", f"the certificate is for {', '.join(found.names) or 'no name'}", renew)
    if left <= 0:
        yield finding(
            "error", f"the certificate expired {format_duration(-left)} ago ({reading.when(found.ends)})", renew
        )
    elif found.is_soon(now):
        yield finding("warn", f"the certificate ends in {format_duration(left)} ({reading.when(found.ends)})", renew)
    else:
        issuer = found.issuer or "an authority without a name"
        yield finding("ok", f"certificate of {issuer}, good until {reading.when(found.ends)}")


def _dns(name: str, asked: str, question: Question) -> Iterator[Finding]:
    leads = tuple(question.given.get(name) or question.given.get(asked) or visiting.addresses(asked))
    ours = {address: host for host, places in question.hosts.items() for address in places}
    wanted = ", ".join(_record(name, places[0]) for places in question.hosts.values() if places)

    def finding(level: Level, what: str, fix: str | None = None) -> Finding:
        return Finding(name=name, host=None, level=level, what=what, fix=fix)

    if not leads:
        yield finding("error", "it has no address", f"add to DNS: {wanted}")
        return
    reached = sorted({ours[address] for address in leads if address in ours})
    strange = [address for address in leads if address not in ours]
    if reached:
        yield finding("ok", f"it leads to {', '.join(reached)}")
        away = [host for host in question.hosts if host not in reached]
        if away and not strange:
            yield finding("warn", f"no visitor reaches {', '.join(away)}", f"DNS should say: {wanted}")
    for address in strange:
        health = visiting.ask_plain(asked, address, sites.HTTP, "/.deployd/health")
        if health.text.startswith("ok"):
            yield finding("ok", f"it leads to {address}, through which the hosts answer")
        else:
            level: Level = "warn" if reached else "error"
            yield finding(level, f"it leads to {address}, which is none of the hosts", f"DNS should say: {wanted}")


def _record(name: str, address: str) -> str:
    return f"{name} {'AAAA' if ':' in address else 'A'} {address}"


def _plain(
    name: str, asked: str, host: str, address: str, question: Question, *, shown: visiting.Shown | None
) -> Iterator[Finding]:
    """Port 80, or the app's own: it answers, or leads to https."""
    run = question.run
    port = run.port if sites.way_of(run) == "off" else sites.HTTP
    answer = visiting.ask_plain(asked, address, port)

    def finding(level: Level, what: str, fix: str | None = None) -> Finding:
        return Finding(name=name, host=host, level=level, what=what, fix=fix)

    target = dict(run.redirects).get(name)
    if answer.error:
        fix = f"open port {port} to {address} (firewall, security group); `deployd host check {host}`"
        yield finding("error", f"port {port} of {address}: {answer.error}", fix)
    elif sites.way_of(run) == "off" and target is None:
        broken = answer.status is None or answer.status >= _BROKEN
        yield finding(
            "warn" if broken else "ok", f"http answers {answer.status}", "see `deployd status`" if broken else None
        )
    else:
        way = sites.way_of(run)
        early = shown is not None and (shown.certificate is None or shown.distrust is not None)
        obtained = early and way in {"acme", "files"} and not isinstance(run.tls, tuple)
        leads_early = answer.status == _EARLY and (answer.location or "").startswith(f"http://{target}")
        if obtained and (leads_early if target else answer.status not in (*_PERMANENT, _MISSING)):
            what = f"http answers {answer.status}: it leads to https once there is a certificate"
            yield finding("warn", what, "see what is said of port 443")
        else:
            yield _leads(name, host, answer, f"{'http' if way == 'off' else 'https'}://{target or asked}")


def _leads(name: str, host: str, answer: visiting.Answer, target: str) -> Finding:
    if answer.status in _PERMANENT and (answer.location or "").startswith(target):
        return Finding(name=name, host=host, level="ok", what=f"leads to {target} ({answer.status})")
    said = f"answers {answer.status}" + (f" to {answer.location}" if answer.location else "")
    fix = "release again: the host has another configuration than deployd.toml"
    return Finding(name=name, host=host, level="error", what=f"{said}, and should lead to {target}", fix=fix)


def _secure(name: str, host: str, address: str, question: Question, shown: visiting.Shown) -> Iterator[Finding]:
    """Port 443: a certificate that browsers take, and the app or the redirect behind it."""
    run = question.run

    def finding(level: Level, what: str, fix: str | None = None) -> Finding:
        return Finding(name=name, host=host, level=level, what=what, fix=fix)

    if shown.certificate is None:
        fix = f"open port 443 to {address} (TCP and UDP)"
        if shown.error == visiting.UNCERTIFIED:
            fix = f"`deployd host check {host}` tells what the authority said; it is tried again"
        yield finding("error", f"port 443 of {address}: {shown.error}", fix)
        return
    yield from judge_certificate(name, host, shown.certificate, run=run, now=time.time())
    if shown.distrust and run.tls == "internal":
        yield finding(
            "warn", "it is of the host's own authority, which only you can trust", 'tls = "acme" for the public'
        )
    elif shown.distrust:
        fix = "see the warnings of the last release; `deployd domain renew` tries again"
        if isinstance(run.tls, tuple):
            fix = "bring one that a public authority issued, with its whole chain in `tls.cert`, and release again"
        elif sites.way_of(run) == "acme":
            fix = f"{host} tries again by itself; what the authority said: `journalctl -u deployd-web` there"
        yield finding("error", f"browsers distrust it: {shown.distrust}", fix)
    answer = shown.answer or visiting.Answer(error="no answer")
    target = dict(run.redirects).get(name)
    if answer.error:
        yield finding("error", f"https: {answer.error}", f"`deployd host check {host}`")
    elif target:
        yield _leads(name, host, answer, f"https://{target}")
    else:
        broken = answer.status is None or answer.status >= _BROKEN
        yield finding(
            "warn" if broken else "ok", f"https answers {answer.status}", "see `deployd status`" if broken else None
        )
