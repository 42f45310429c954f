"""The helper's verbs as argv, each a pure function: typed values come in, a tuple of words goes out.

The words become a command line in one place only (ssh.py). What is secret or long goes by stdin, never in here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployd.domain import sites

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.domain.ids import AppName, EnvironmentName, ReleaseId, RuntimeName
    from deployd.domain.options import Probe, Run

Argv = tuple[str, ...]

NONE = "none"


def facts() -> Argv:
    """What the host is."""
    return ("facts",)


def runtime_begin(runtime: RuntimeName) -> Argv:
    """Ask whether a runtime is there; makes its incoming folder if not."""
    return ("runtime-begin", runtime)


def runtime_seal(runtime: RuntimeName) -> Argv:
    """Check and install a runtime that arrived."""
    return ("runtime-seal", runtime)


def hold(app: AppName, environment: EnvironmentName, *, wait: float = 0) -> Argv:
    """Take the app's lock and keep it while stdin is open."""
    return ("hold", app, environment, *(("--wait", f"{wait:g}") if wait else ()))


def holder(app: AppName, environment: EnvironmentName) -> Argv:
    """Who has the app's lock."""
    return ("holder", app, environment)


def unlock(app: AppName, environment: EnvironmentName) -> Argv:
    """End whoever has the app's lock."""
    return ("unlock", app, environment)


def configure(app: AppName, environment: EnvironmentName, *, check: bool = False) -> Argv:
    """Make unit templates and the web server's site."""
    return ("configure", app, environment, *(("--check",) if check else ()))


def begin(app: AppName, environment: EnvironmentName, release: ReleaseId) -> Argv:
    """Compare a manifest with what the host has."""
    return ("begin", app, environment, release)


def seal(app: AppName, environment: EnvironmentName, release: ReleaseId) -> Argv:
    """Verify what arrived and lay the release out."""
    return ("seal", app, environment, release)


def env(app: AppName, environment: EnvironmentName, release: ReleaseId) -> Argv:
    """Write a release's variables."""
    return ("env", app, environment, release)


def start(app: AppName, environment: EnvironmentName, release: ReleaseId) -> Argv:
    """Start a release's socket and instances."""
    return ("start", app, environment, release)


def probe(app: AppName, environment: EnvironmentName, release: ReleaseId) -> Argv:
    """Ask a release by its own socket."""
    return ("probe", app, environment, release)


def probe_web(app: AppName, environment: EnvironmentName, release: ReleaseId) -> Argv:
    """Ask a release through the web server."""
    return ("probe-web", app, environment, release)


def flip(
    app: AppName, environment: EnvironmentName, release: ReleaseId, *, expect: ReleaseId | None, epoch: int
) -> Argv:
    """Make a release current, if `expect` is current now and nobody took the lock since `epoch`."""
    return ("flip", app, environment, release, "--expect", expect or NONE, "--epoch", str(epoch))


def unflip(app: AppName, environment: EnvironmentName, *, to: ReleaseId | None, epoch: int) -> Argv:
    """Make an earlier release current again; None takes `current` away."""
    return ("unflip", app, environment, "--to", to or NONE, "--epoch", str(epoch))


def stop(app: AppName, environment: EnvironmentName, release: ReleaseId, *, after: float = 0) -> Argv:
    """Stop a release's instances without waiting, or `after` seconds from now; its socket stays."""
    return ("stop", app, environment, release, *(("--after", f"{after:g}") if after else ()))


def restart(app: AppName, environment: EnvironmentName) -> Argv:
    """Restart the current release's instances, one at a time."""
    return ("restart", app, environment)


def maintenance(app: AppName, environment: EnvironmentName) -> Argv:
    """Turn visitors away, or let them in again."""
    return ("maintenance", app, environment)


def drain() -> Argv:
    """Take the host, or an app of it, out of what a load balancer asks, or give it back."""
    return ("drain",)


def canary(app: AppName, environment: EnvironmentName) -> Argv:
    """Give some visitors another release, or none of them."""
    return ("canary", app, environment)


def share(app: AppName, environment: EnvironmentName) -> Argv:
    """Take a key to one preview address."""
    return ("share", app, environment)


def status(app: AppName, environment: EnvironmentName) -> Argv:
    """What is live and what is kept."""
    return ("status", app, environment)


def prune(app: AppName, environment: EnvironmentName) -> Argv:
    """Remove releases that are not in a list."""
    return ("prune", app, environment)


def discard(app: AppName, environment: EnvironmentName, release: ReleaseId) -> Argv:
    """Remove one release that never was live."""
    return ("discard", app, environment, release)


def logs(
    app: AppName,
    environment: EnvironmentName,
    *,
    release: ReleaseId | None = None,
    lines: int | None = 100,
    since: str | None = None,
    follow: bool = False,
) -> Argv:
    """What a release's instances wrote."""
    return (
        "logs",
        app,
        environment,
        *(("--release", release) if release else ()),
        *(("-n", str(lines)) if lines is not None else ()),
        *(("--since", since) if since else ()),
        *(("-f",) if follow else ()),
    )


def traffic(
    app: AppName,
    environment: EnvironmentName,
    *,
    since: str | float,
    until: float | None = None,
    step: int = 60,
    skip_first: bool = False,
) -> Argv:
    """What visitors asked for since an age (`15m`) or a moment of the host's clock, until one."""
    return (
        "traffic",
        app,
        environment,
        "--since",
        since if isinstance(since, str) else f"@{since:.6f}",
        *(("--until", f"@{until:.6f}") if until is not None else ()),
        "--step",
        str(step),
        *(("--skip-first",) if skip_first else ()),
    )


def execute(
    app: AppName,
    environment: EnvironmentName,
    argv: Sequence[str],
    *,
    release: ReleaseId | None = None,
    limit: float | None = None,
) -> Argv:
    """Run a command in a release's environment, the current one's if none is named, for `limit` seconds at most."""
    return (
        "exec",
        app,
        environment,
        *(("--release", release) if release else ()),
        *(("--limit", f"{limit:g}") if limit else ()),
        "--",
        *argv,
    )


def manifest(app: AppName, environment: EnvironmentName, release: ReleaseId) -> Argv:
    """Give a release's manifest."""
    return ("manifest", app, environment, release)


def contents(app: AppName, environment: EnvironmentName, release: ReleaseId) -> Argv:
    """Give contents of a release's files."""
    return ("contents", app, environment, release)


def remove_app(app: AppName, environment: EnvironmentName) -> Argv:
    """Take an app off the host."""
    return ("remove-app", app, environment)


def probe_document(wanted: Probe) -> dict[str, Any]:
    """The stdin of `probe` and `probe-web`."""
    return {
        "path": wanted.path,
        "status": list(wanted.status),
        "timeout": wanted.timeout,
        "interval": wanted.interval,
        "successes": wanted.successes,
        "request_timeout": wanted.request_timeout,
        "host": wanted.host,
        "warm": list(wanted.warm),
    }


def certificate(app: AppName, environment: EnvironmentName) -> Argv:
    """Keep a certificate with its key, and serve it."""
    return ("certificate", app, environment)


def answer(token: str) -> Argv:
    """Answer an authority's question over http, or with an empty document no longer."""
    return ("answer", token)


def served(app: AppName, environment: EnvironmentName) -> Argv:
    """The certificates that the web server shows for the app's names."""
    return ("served", app, environment)


def run_document(run: Run, *, ca_root: str | None = None) -> dict[str, Any]:
    """The stdin of `configure`; `ca_root` is the text of the authority's own certificate (PEM)."""
    way = sites.way_of(run)
    acme = {"email": run.acme_email, "directory": run.acme_directory, "root": ca_root}
    return {
        "instances": run.instances,
        "memory": run.memory,
        "drain": run.drain,
        "domains": list(run.domains),
        "port": run.port,
        **({"body": run.body_limit} if run.body_limit else {}),
        **({"proxies": list(run.trusted_proxies)} if run.trusted_proxies else {}),
        **({"redirects": dict(run.redirects)} if run.redirects else {}),
        **({"tls": way} if way != "off" else {}),
        **({"acme": {key: value for key, value in acme.items() if value}} if way == "acme" else {}),
        **({"hsts": int(run.hsts)} if run.hsts and way != "off" else {}),
        **({"preview": _preview(run)} if run.preview_domain else {}),
    }


def _preview(run: Run) -> dict[str, Any]:
    return {"domain": run.preview_domain, **({"password": run.preview_password} if run.preview_password else {})}
