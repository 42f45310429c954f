"""`deployd domain`: the names of an app, whether DNS, ports and certificates are right, and certificates anew."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployd.cli.live import PlainView, View
from deployd.cli.verbs import Noun
from deployd.domain import sites
from deployd.errors import HostError, NotAllowedError, NotFoundError, UsageError, on_host

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from deployd.certificates.judging import Finding
    from deployd.cli.context import Cli
    from deployd.domain.options import Run

domains = Noun("domain", "The app's names: DNS, ports, certificates, redirects.")

_NAME = Annotated[str | None, typer.Argument(metavar="[NAME]", help="Only this one. [default: all]")]
_HOW = {
    "off": "no https",
    "internal": "the host's own authority",
    "acme": "an authority, asked by the host itself",
    "files": "an authority, asked by deployd for all hosts",
}


@domains.verb("list", example="deployd domain list")
def list_(cli: Cli) -> None:
    """List the names in deployd.toml: what each does, and how its certificate is had."""
    run = cli.app_environment.options.run
    way = sites.way_of(run)
    how = f"files: {run.tls[0]}" if isinstance(run.tls, tuple) else _HOW[way]
    rows = [(name, "the app", how) for name in run.domains]
    rows += [(name, f"leads to {sites.for_people(target)}", how) for name, target in run.redirects]
    if cli.options.json:
        cli.out.document(
            [
                {"name": name, "redirect": dict(run.redirects).get(name), "tls": way, "shown": sites.for_people(name)}
                for name, _, _ in rows
            ]
        )
    elif rows:
        cli.out.table(("NAME", "WHAT", "CERTIFICATE"), [(sites.for_people(name), *rest) for name, *rest in rows])
    else:
        cli.out.line("no domains: the app answers every name that no other app has")
        cli.out.next(f'domains = ["example.com"] under [environments.{cli.environment}] in deployd.toml')


@domains.verb("check", example="deployd domain check example.com")
def check(
    cli: Cli,
    name: _NAME = None,
    resolve: Annotated[
        list[str] | None,
        typer.Option("--resolve", metavar="NAME=ADDRESS", help="Where a name leads, in place of DNS; repeatable."),
    ] = None,
    ca: Annotated[
        list[Path] | None,
        typer.Option(
            "--ca", metavar="FILE", help="An authority that your visitors trust besides the usual; repeatable."
        ),
    ] = None,
) -> int:
    """Say whether DNS, ports, certificate and redirect of each name are right on each host, and what to change.

    It asks as a visitor would, from this machine, and changes nothing. Exits with 1 when something is wrong.
    """
    from deployd.certificates import judging, visiting

    run = cli.app_environment.options.run
    names = _chosen(cli, run, name)
    given: dict[str, list[str]] = {}
    for text in resolve or ():
        left, separator, address = text.partition("=")
        if not separator or not address:
            raise UsageError(f"{text!r} is not NAME=ADDRESS", fix="for example: --resolve example.com=203.0.113.7")
        given.setdefault(_ascii(left), []).append(address)
    missing = [file for file in ca or () if not file.is_file()]
    if missing:
        raise UsageError(f"there is no file {missing[0]}", code="file-unreadable", fix="name a PEM file")
    known = {host.name: host.address for host in cli.client.hosts()}
    chosen = cli.hosts()
    unknown = [host for host in chosen if host not in known]
    if unknown:
        raise NotFoundError(
            f"host {unknown[0]} is not known here", code="host-unknown", fix=f"deployd host add {unknown[0]} ADDRESS"
        )
    places = {str(host): visiting.addresses(known[host]) or (known[host],) for host in chosen}
    question = judging.Question(run=run, hosts=places, given=given, trusting=tuple(ca or ()))
    with ThreadPoolExecutor(8) as threads:
        found = [one for each in threads.map(lambda name: judging.check(name, question), names) for one in each]
    found += _refused(cli, names)
    _draw(cli, found)
    return 1 if any(one.level == "error" for one in found) else 0


@domains.verb("renew", example="deployd domain renew")
def renew(
    cli: Cli,
    *,
    force: Annotated[bool, typer.Option("--force", help="Also when it is good for long.")] = False,
) -> int:
    """Obtain certificates anew that end soon, and bring them to all hosts; outside of an app's folder, of all apps.

    A daemon does this by itself. Without one, let cron or a timer call it once a day. (A certificate that a host
    obtains by itself is renewed there.) Exits with 1 when one could not be had or not be brought.
    """
    only = _app_here(cli)
    view = View() if cli.options.json else PlainView(cli.out)
    with view as report:
        results = [
            (kept, *cli.client.renew_certificate(kept, force=force, report=report))
            for kept in cli.client.certificates(*(only or (None, None)))
        ]
    bad = any(now is None or now.problem or _failures(told) for _, now, told in results)
    shown = [
        (now or kept).to_json() | {"failed": {name: error.to_json() for name, error in _failures(told).items()}}
        for kept, now, told in results
    ]
    cli.out.result({"certificates": shown}, None if shown else "deployd has no certificates here")
    for one in shown:
        if one["problem"]:
            cli.out.line(f"{cli.out.paint('✗', 'red', 'bold')} {_line(one)}")
        else:
            cli.out.done(_line(one))
        for name, error in one["failed"].items():
            cli.out.warn(f"{on_host(name, error['what'])}; {error['fix']}")
    return 1 if bad else 0


def _app_here(cli: Cli) -> tuple[Any, Any] | None:
    try:
        return cli.where
    except UsageError as error:
        if error.code != "app-file-missing" or cli.options.app_dir or cli.options.environment:
            raise
        return None


def _failures(told: Mapping[Any, bool | HostError]) -> dict[str, HostError]:
    return {str(name): one for name, one in told.items() if isinstance(one, HostError)}


def _refused(cli: Cli, names: Sequence[str]) -> list[Finding]:
    """What the authority that deployd asks said last of these names, where that was no."""
    from deployd.certificates.judging import Finding

    try:
        kept = next(iter(cli.client.certificates(*cli.where)), None)
    except NotAllowedError:  # a daemon elsewhere knows
        return []
    if kept is None or kept.problem is None:
        return []
    told = kept.to_json()
    what = f"the authority, asked at {told['tried']}: {kept.problem}; a daemon asks again at {told['next_try']}"
    about = [name for name in names if name in told["missing"]] or ([] if told["missing"] else list(names))
    fix = "`deployd domain renew` asks now"
    return [Finding(name=name, host=None, level="warn", what=what, fix=fix) for name in about[:1]]


def _line(shown: Mapping[str, Any]) -> str:
    said = "not renewed" if not shown["missing"] else f"without {', '.join(shown['missing'])}"
    again = f"; a daemon asks again at {shown['next_try']}"
    problem = f"; {said}: {shown['problem']}{again}" if shown["problem"] else ""
    hosts = ", ".join(shown["hosts"])
    until = f"until {shown['ends']} on {hosts}" if shown["ends"] else f"none yet for {hosts}"
    return f"{shown['app']} {shown['environment']}: {', '.join(shown['names'])} {until}{problem}"


def _chosen(cli: Cli, run: Run, name: str | None) -> Sequence[str]:
    names = sites.names_of(run)
    if name is None:
        if not names:
            raise NotFoundError(
                f"{cli.app.name} has no domains in {cli.environment}",
                code="domain-unknown",
                fix='add them to deployd.toml: domains = ["example.com"]',
            )
        return names
    wanted = _ascii(name)
    if wanted not in names:
        raise NotFoundError(
            f"{name} is no domain of {cli.app.name} {cli.environment}",
            code="domain-unknown",
            fix=f"choose among {', '.join(names) or 'none'}, or add it to `domains` in deployd.toml",
        )
    return (wanted,)


def _ascii(name: str) -> str:
    try:
        return sites.in_ascii(name)
    except ValueError as error:
        raise UsageError(f"{name!r} is no domain", fix="for example: example.com") from error


def _draw(cli: Cli, found: Sequence[Finding]) -> None:
    if cli.options.json:
        cli.out.document([one.to_json() for one in found])
        return
    marks = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "error": ("✗", "red")}
    about = [sites.for_people(one.name) + (f" at {one.host}" if one.host else "") for one in found]
    width = max(map(len, about), default=0)
    for label, one in zip(about, found, strict=True):
        mark, style = marks[one.level]
        if one.level == "ok" and cli.options.quiet:
            continue
        cli.out.line(f"{cli.out.paint(mark, style)} {cli.out.paint(label.ljust(width), 'bold')}  {one.what}")
        if one.fix and one.level != "ok":
            cli.out.line(f"  {' ' * width}  {cli.out.paint('fix', 'dim')} {one.fix}")
    wrong = sum(one.level == "error" for one in found)
    warned = sum(one.level == "warn" for one in found)
    cli.out.line(f"{wrong} wrong, {warned} to look at" if wrong or warned else "all well")
