"""The certificate of an app's names on all of its hosts: what is asked for comes in; every host has the files after it.

deployd obtains it where one host alone could not: several hosts share a name (the authority may ask any of them), or a
name is a wildcard. Otherwise the host's own web server does, and nothing here is called. An authority that is down or
refuses holds no release up: what is there is served on, and the next look tries again.
"""

from __future__ import annotations

import json
import shlex
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd import process, settings
from deployd.certificates import acme, reading
from deployd.certificates.obtaining import Obtained, obtain
from deployd.domain import sites
from deployd.domain.events import Event, quiet
from deployd.domain.ids import AppName, EnvironmentName, HostName
from deployd.domain.quantity import format_duration
from deployd.domain.secret import Secret
from deployd.errors import CertificateError, CommandError, ConfigError, HostError
from deployd.rollouts.fleet import raise_first
from deployd.rollouts.locks import FileLock, held_by

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from deployd.domain.events import Report
    from deployd.domain.options import Run
    from deployd.hosts.helper import Helper
    from deployd.hosts.pool import Pool
    from deployd.paths import StatePaths
    from deployd.rollouts.rollout import Rollout
    from deployd.store import Store
    from deployd.store.secrets import SecretKind

_KIND: SecretKind = "certificate"
_DNS_WAIT = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Which names of an app need one certificate, from which authority, on which hosts. `root` is PEM."""

    app: AppName
    environment: EnvironmentName
    names: tuple[str, ...]
    hosts: tuple[HostName, ...]
    directory: str = sites.DIRECTORY
    email: str | None = None
    root: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As it is kept beside the certificate, for the next time."""
        fields = ("names", "hosts", "directory", "email", "root")
        return json.loads(json.dumps({name: getattr(self, name) for name in fields}))  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A certificate that deployd obtained, with the site that it is for. `problem` is why the last try failed."""

    site: Site
    chain: str
    key: Secret
    certificate: reading.Certificate
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As in `domain renew --json`."""
        return {
            "app": self.site.app,
            "environment": self.site.environment,
            **self.certificate.to_json(),
            "hosts": list(self.site.hosts),
            "problem": self.problem,
        }


def bring(rollout: Rollout, run: Run) -> None:
    """In a rollout, before a host is configured: have the certificate and give it to every host.

    Raises CertificateError when an operator's own is of no use.
    """
    if sites.way_of(run) != "files":
        return
    if isinstance(run.tls, tuple):
        chain, key, found = own_files(run, now=time.time())
        left = found.left(time.time())
        if found.is_soon(time.time()):
            _warn(rollout.report, "certificate-soon", f"{run.tls[0]} ends in {format_duration(left)}", "renew it")
    else:
        if run.preview_domain and not _dns_command():
            what = f"previews below {run.preview_domain} have no certificate: several hosts need a wildcard's"
            _warn(rollout.report, "acme-dns-missing", what, "set `acme_dns` in the machine's configuration")
        kept = ensure(
            rollout.paths,
            rollout.store,
            rollout.pool,
            site_of(rollout.app, rollout.environment, rollout.hosts, run),
            who=rollout.who,
            report=rollout.report,
            cancel=rollout.stop,
        )
        if kept is None:
            return
        chain, key, found = kept.chain, kept.key, kept.certificate

    def give(helper: Helper) -> bool:
        return _give(helper, rollout.app, rollout.environment, chain=chain, key=key, found=found)

    raise_first(rollout.pool.each(rollout.hosts, give), live="unchanged")


def check_own(run: Run) -> None:
    """See that an operator's own certificate is of use. Raises ConfigError or CertificateError."""
    if isinstance(run.tls, tuple) and sites.way_of(run) == "files":
        own_files(run, now=time.time())


def site_of(app: AppName, environment: EnvironmentName, hosts: Sequence[HostName], run: Run) -> Site:
    """What these options ask an authority for."""
    root = read_file(run.acme_ca_root, "acme_ca_root") if run.acme_ca_root else None
    previews = (f"*.{app}.{run.preview_domain}",) if run.preview_domain and _dns_command() else ()
    return Site(
        app=app,
        environment=environment,
        names=tuple(sorted({*sites.names_of(run), *previews})),
        hosts=tuple(hosts),
        directory=run.acme_directory or sites.DIRECTORY,
        email=run.acme_email,
        root=root,
    )


def own_files(run: Run, *, now: float) -> tuple[str, Secret, reading.Certificate]:
    """The operator's certificate and key, checked. Raises ConfigError or CertificateError."""
    if not isinstance(run.tls, tuple):
        raise TypeError
    chain, key = read_file(run.tls[0], "tls.cert"), Secret(read_file(run.tls[1], "tls.key"))
    names = sites.names_of(run)
    live = "unchanged: what is served stays as it is"
    return chain, key, reading.check_pair(chain, key, names=names, now=now, what=run.tls[0], live=live)


def read_file(path: str, key: str) -> str:
    """A text file of this machine that `deployd.toml` names. Raises ConfigError `file-unreadable`."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} ({key}) cannot be read: {getattr(error, 'strerror', None) or error}",
            code="file-unreadable",
            fix="name a PEM file on the machine that runs deployd; a daemon needs its whole path",
        ) from error


def ensure(
    paths: StatePaths,
    store: Store,
    pool: Pool,
    site: Site,
    *,
    who: str,
    force: bool = False,
    report: Report = quiet,
    cancel: threading.Event | None = None,
) -> Kept | None:
    """The certificate of a site, obtained if there is none, if it is due, or does not fit; None if it is not to be had.

    Who else obtains the same one is waited for.
    """
    lock = FileLock(paths.root / f"certificate-{site.app}-{site.environment}.lock")
    with lock:
        lock.take(held_by(who=who, command="certificate", app=site.app, environment=site.environment), wait=300)
        kept = find(store, site.app, site.environment)
        if kept and not force and _fits(kept, site) and not kept.certificate.is_due(time.time()):
            wider = replace(site, hosts=_together(kept.site.hosts, site.hosts))
            if wider != kept.site:
                kept = replace(kept, site=wider)
                _keep(store, kept, who=who)
            return kept
        try:
            obtained = _obtain(store, pool, site, who=who, cancel=cancel)
        except CertificateError as error:
            usable = kept is not None and _is_usable(kept, site)
            more = "the one there is stays" if usable else "the hosts' own authority stands in, which browsers distrust"
            _warn(report, error.code, f"no new certificate: {error.what}; {more}", error.fix)
            if kept:
                kept = replace(kept, problem=error.what)
                _keep(store, kept, who=who)
            return kept if usable else None
        everywhere = _together(kept.site.hosts if kept else (), site.hosts)
        fresh = Kept(
            site=replace(site, hosts=everywhere),
            chain=obtained.chain,
            key=obtained.key,
            certificate=reading.read_chain(obtained.chain),
        )
        _keep(store, fresh, who=who)
        return fresh


def renew(
    paths: StatePaths,
    store: Store,
    connect: Callable[[Sequence[HostName]], Pool],
    kept: Kept,
    *,
    who: str,
    force: bool = False,
    report: Report = quiet,
) -> tuple[Kept | None, dict[HostName, bool | HostError]]:
    """Obtain a certificate anew if it is due, and give it to all of its hosts, also to those that were away before.

    Hosts that deployd no longer knows are left out.
    """
    known = {host.name for host in store.hosts.all()}
    site = replace(kept.site, hosts=tuple(name for name in kept.site.hosts if name in known))
    with connect(site.hosts) as pool:
        now = ensure(paths, store, pool, site, who=who, force=force, report=report)
        if now is None:
            return None, {}
        give = now

        def one(helper: Helper) -> bool:
            return _give(helper, site.app, site.environment, chain=give.chain, key=give.key, found=give.certificate)

        return now, pool.each(site.hosts, one)


def find(store: Store, app: AppName, environment: EnvironmentName) -> Kept | None:
    """The certificate that deployd obtained for an app, or None."""
    found = store.secrets.find(_KIND, app=app, name=environment)
    value = store.secrets.reveal(_KIND, app=app, name=environment)
    secret = json.loads(value.reveal()) if value else {}
    if found is None or not secret.get("chain"):
        return None
    site = found.extra["site"]
    return Kept(
        site=Site(
            app=AppName(app),
            environment=EnvironmentName(environment),
            names=tuple(site["names"]),
            hosts=tuple(HostName(name) for name in site["hosts"]),
            directory=site["directory"],
            email=site["email"],
            root=site["root"],
        ),
        chain=secret["chain"],
        key=Secret(secret["key"]),
        certificate=reading.read_chain(secret["chain"]),
        problem=found.extra.get("problem"),
    )


def forget(store: Store, app: AppName, environment: EnvironmentName) -> bool:
    """Renew it no longer; False when there was none."""
    return store.secrets.remove(_KIND, app=app, name=environment)


def everything(store: Store) -> tuple[Kept, ...]:
    """All certificates that deployd obtained."""
    found = (find(store, AppName(one.app), EnvironmentName(one.name)) for one in store.secrets.all(_KIND))
    return tuple(one for one in found if one)


def _obtain(store: Store, pool: Pool, site: Site, *, who: str, cancel: threading.Event | None) -> Obtained:
    account = acme.Account(_account_key(store, site, who=who))
    with acme.Authority(site.directory, account=account, root=site.root, cancel=cancel) as authority:
        return obtain(site.names, authority=authority, answers=_Hosts(pool, site.hosts), email=site.email)


def _account_key(store: Store, site: Site, *, who: str) -> Secret:
    """The key of our account at this authority, one for each app and environment."""
    name = f"{site.environment}@{site.directory}"
    found = store.secrets.reveal("acme", app=site.app, name=name)
    if found is None:
        found = acme.new_key()
        store.secrets.put("acme", app=site.app, name=name, value=found, who=who)
    return found


class _Hosts:
    """Answers an authority's questions: over http on every host, over DNS by the machine's own command."""

    def __init__(self, pool: Pool, hosts: Sequence[HostName]) -> None:
        self._pool = pool
        self._hosts = hosts

    def put(self, token: str, text: str) -> None:
        """On every host that can be reached; nobody asks one that is down."""
        outcomes = self._pool.each(self._hosts, lambda helper: helper.answer(token, text))
        if all(isinstance(one, HostError) for one in outcomes.values()):
            raise_first(outcomes, live="unchanged")

    def take(self, token: str) -> None:
        """What stays behind goes within an hour of the next one."""
        self._pool.each(self._hosts, lambda helper: helper.answer(token, None))

    def put_dns(self, name: str, value: str) -> None:
        """By the command of the setting `acme_dns`."""
        self._run("set", name, value)

    def take_dns(self, name: str, value: str) -> None:
        """A record that stays harms nobody."""
        try:
            self._run("remove", name, value)
        except CertificateError:
            return

    def _run(self, doing: str, name: str, value: str) -> None:
        command = _dns_command()
        if not command:
            raise CertificateError(
                "a wildcard is proven over DNS, and this machine has no command for that",
                code="acme-dns-missing",
                live="unchanged: what is served stays as it is",
                fix="set `acme_dns` in the machine's configuration (docs/domains.md), or bring a certificate",
            )
        try:
            process.run([*shlex.split(command), doing, name, value], timeout=_DNS_WAIT)
        except CommandError as error:
            raise CertificateError(
                f"`{command}` did not {doing} the record {name}",
                code="acme-dns-failed",
                live="unchanged: what is served stays as it is",
                details=error.details,
                fix="run it by hand; its last words are above",
            ) from error


def _dns_command() -> str | None:
    """The machine's command that makes records in DNS, for wildcards; previews of several hosts have one."""
    command = settings.in_force().get("acme_dns")
    return str(command) if command else None


def _give(
    helper: Helper,
    app: AppName,
    environment: EnvironmentName,
    *,
    chain: str,
    key: Secret,
    found: reading.Certificate,
) -> bool:
    return helper.certificate(
        app, environment, chain=chain, key=key, names=found.names, since=found.begins, until=found.ends
    )


def _fits(kept: Kept, site: Site) -> bool:
    """Whether a certificate is what is asked for now."""
    return kept.site.directory == site.directory and not sites.uncovered(site.names, kept.certificate.names)


def _is_usable(kept: Kept, site: Site) -> bool:
    return not sites.uncovered(site.names, kept.certificate.names) and kept.certificate.left(time.time()) > 0


def _together(before: Sequence[HostName], now: Sequence[HostName]) -> tuple[HostName, ...]:
    """The hosts of both: a rollout on one host of several forgets none of the others."""
    return tuple(dict.fromkeys((*before, *now)))


def _keep(store: Store, kept: Kept, *, who: str) -> None:
    value = Secret(json.dumps({"chain": kept.chain, "key": kept.key.reveal()}))
    extra = {"site": kept.site.to_json(), "ends": reading.when(kept.certificate.ends), "problem": kept.problem}
    store.secrets.put(_KIND, app=kept.site.app, name=kept.site.environment, value=value, extra=extra, who=who)


def _warn(report: Report, code: str, what: str, fix: str) -> None:
    report(Event.WARNING, what=what, code=code, fix=fix)
