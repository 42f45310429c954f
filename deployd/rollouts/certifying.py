"""The certificate of an app's names on all of its hosts: what is asked for comes in; every host has the files after it.

deployd obtains it where one host alone could not: several hosts share a name (the authority may ask any of them), or a
name is a wildcard. Otherwise the host's own web server does, and nothing here is called. An authority that is down or
refuses holds no release up: what is there is served on, and the next look tries again.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.certificates import acme, reading
from deployd.certificates.obtaining import Obtained, obtain
from deployd.domain import sites
from deployd.domain.events import Event, quiet
from deployd.domain.ids import AppName, EnvironmentName, HostName
from deployd.domain.quantity import format_duration
from deployd.domain.secret import Secret
from deployd.errors import CertificateError, ConfigError, HostError
from deployd.rollouts import answering
from deployd.rollouts.certified import HOUR, Kept, Site
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
_APART = "http is answered meanwhile, and https by the hosts' own authority, which browsers distrust"


def bring(rollout: Rollout, run: Run) -> None:
    """In a rollout, before a host is configured: have the certificate and give it to every host.

    Raises CertificateError when an operator's own is of no use.
    """
    if sites.way_of(run) != "files" or isinstance(run.tls, tuple):
        kept = find(rollout.store, rollout.app, rollout.environment)
        if kept and kept.certificate is None:  # nobody asks for it any more
            forget(rollout.store, rollout.app, rollout.environment)
    if sites.way_of(run) != "files":
        return
    if isinstance(run.tls, tuple):
        chain, key, found = own_files(run, now=time.time())
        left = found.left(time.time())
        if found.is_soon(time.time()):
            _warn(rollout.report, "certificate-soon", f"{run.tls[0]} ends in {format_duration(left)}", "renew it")
    else:
        if run.preview_domain and not answering.dns_command():
            what = f"previews below {run.preview_domain} have no certificate: several hosts need a wildcard's"
            _warn(rollout.report, "acme-dns-missing", what, "set `acme_dns` in the machine's configuration")
        kept = ensure(
            rollout.paths,
            rollout.store,
            rollout.pool,
            site_of(rollout.app, rollout.environment, rollout.hosts, run),
            who=rollout.who,
            patient=True,
            report=rollout.report,
            cancel=rollout.stop,
        )
        if kept is None or kept.certificate is None:
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
    previews = (f"*.{app}.{run.preview_domain}",) if run.preview_domain and answering.dns_command() else ()
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
    patient: bool = False,
    unattended: bool = False,
    report: Report = quiet,
    cancel: threading.Event | None = None,
) -> Kept | None:
    """The certificate of a site, obtained if there is none, if it is due, or does not fit; None if it is not to be had.

    Who else obtains the same one is waited for. Who is `patient` does not ask an authority that failed within the hour,
    as long as there is one of use. Who is `unattended` (a daemon) asks again when `next_try` says so.
    """
    lock = FileLock(paths.root / f"certificate-{site.app}-{site.environment}.lock")
    with lock:
        lock.take(held_by(who=who, command="certificate", app=site.app, environment=site.environment), wait=300)
        kept = find(store, site.app, site.environment)
        usable = kept is not None and _is_usable(kept, site)
        if kept and not force and _fits(kept, site) and not _is_due(kept):
            hosts = _together(kept.site.hosts, site.hosts)
            now = replace(kept, site=replace(site, hosts=hosts), problem=None, failures=0)
            if now != kept:
                _keep(store, now, who=who)
            return now
        if kept and unattended and kept.rests(time.time()):
            return kept if usable else None
        if kept and usable and kept.problem and patient and time.time() < kept.tried + HOUR:
            what = f"no new certificate: {kept.problem}; {_meanwhile(kept, site)}"
            _warn(report, "certificate-waits", what, "it is tried again within the hour; now: `deployd domain renew`")
            return kept
        try:
            obtained = _obtain(store, pool, site, kept, force=force, who=who, cancel=cancel)
        except CertificateError as error:
            _warn(report, error.code, f"no new certificate: {error.what}; {_meanwhile(kept, site)}", error.fix)
            failures = _failures(kept, site) + 1
            kept = replace(kept or Kept(site=site), problem=error.what, tried=time.time(), failures=failures)
            if kept.certificate is None or kept.site.directory == site.directory:  # what the next look asks for
                kept = replace(kept, site=replace(site, hosts=_together(kept.site.hosts, site.hosts)))
            _keep(store, kept, who=who)
            return kept if _is_usable(kept, site) else None
        everywhere = _together(kept.site.hosts if kept else (), site.hosts)
        fresh = Kept(
            site=replace(site, hosts=everywhere),
            chain=obtained.chain,
            key=obtained.key,
            certificate=reading.read_chain(obtained.chain),
            problem="; ".join(error.what for error in obtained.refused.values()) or None,
            tried=time.time() if obtained.refused else 0.0,
            failures=_failures(kept, site) + 1 if obtained.refused else 0,
        )
        for refusal in obtained.refused.values():
            _warn(report, refusal.code, f"the certificate lacks {refusal.what}; {_APART}", refusal.fix)
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
    unattended: bool = False,
    report: Report = quiet,
) -> tuple[Kept | None, dict[HostName, bool | HostError]]:
    """Obtain a certificate anew if it is due, and give it to all of its hosts, also to those that were away before.

    Hosts that deployd no longer knows are left out.
    """
    known = {host.name for host in store.hosts.all()}
    site = replace(kept.site, hosts=tuple(name for name in kept.site.hosts if name in known))
    with connect(site.hosts) as pool:
        now = ensure(paths, store, pool, site, who=who, force=force, unattended=unattended, report=report)
        if now is None or now.certificate is None:
            return find(store, site.app, site.environment), {}
        chain, key, found = now.chain, now.key, now.certificate

        def one(helper: Helper) -> bool:
            return _give(helper, site.app, site.environment, chain=chain, key=key, found=found)

        return now, pool.each(site.hosts, one)


def find(store: Store, app: AppName, environment: EnvironmentName) -> Kept | None:
    """The certificate that deployd obtained for an app, or could not obtain yet; None where it never tried."""
    found = store.secrets.find(_KIND, app=app, name=environment)
    value = store.secrets.reveal(_KIND, app=app, name=environment)
    secret = json.loads(value.reveal()) if value else {}
    if found is None or "site" not in (found.extra or {}):
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
        certificate=reading.read_chain(secret["chain"]) if secret["chain"] else None,
        problem=found.extra.get("problem"),
        tried=float(found.extra.get("tried") or 0),
        failures=int(found.extra.get("failures") or 0),
    )


def forget(store: Store, app: AppName, environment: EnvironmentName) -> bool:
    """Renew it no longer; False when there was none."""
    return store.secrets.remove(_KIND, app=app, name=environment)


def everything(store: Store) -> tuple[Kept, ...]:
    """All certificates that deployd obtained."""
    found = (find(store, AppName(one.app), EnvironmentName(one.name)) for one in store.secrets.all(_KIND))
    return tuple(one for one in found if one)


def _obtain(
    store: Store, pool: Pool, site: Site, kept: Kept | None, *, force: bool, who: str, cancel: threading.Event | None
) -> Obtained:
    account = acme.Account(_account_key(store, site, who=who))

    def worth(names: Sequence[str]) -> bool:
        return bool(names) and (force or _is_better(names, kept, site))

    with acme.Authority(site.directory, account=account, root=site.root, cancel=cancel) as authority:
        answers = answering.Hosts(pool, site.hosts)
        return obtain(site.names, authority=authority, answers=answers, email=site.email, worth=worth)


def _is_better(names: Sequence[str], kept: Kept | None, site: Site) -> bool:
    """Whether a certificate for some of a site's names is better than the one that is there.

    An authority gives few of the same kind, so one that is no better is not asked for at each look; and a name that is
    refused today is good in the one that is there, until that is about to end.
    """
    if kept is None or kept.certificate is None or kept.site.directory != site.directory:
        return True
    if kept.certificate.is_soon(time.time()):
        return True
    has = set(site.names) - set(sites.uncovered(site.names, kept.certificate.names))
    lost = has - set(names)
    return not lost and (_is_due(kept) or len(has) < len(names))


def _account_key(store: Store, site: Site, *, who: str) -> Secret:
    """The key of our account at this authority, one for each app and environment."""
    name = f"{site.environment}@{site.directory}"
    found = store.secrets.reveal("acme", app=site.app, name=name)
    if found is None:
        found = acme.new_key()
        store.secrets.put("acme", app=site.app, name=name, value=found, who=who)
    return found


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
    return kept.site.directory == site.directory and _names_all(kept, site)


def _is_due(kept: Kept) -> bool:
    return kept.certificate is None or kept.certificate.is_due(time.time())


def _is_usable(kept: Kept, site: Site) -> bool:
    """Whether it is good now, and for all names that could be had when they were asked for last."""
    if kept.certificate is None or kept.certificate.left(time.time()) <= 0:
        return False
    known = kept.problem is not None and set(site.names) <= set(kept.site.names)
    return _names_all(kept, site) or (
        known and len(sites.uncovered(site.names, kept.certificate.names)) < len(site.names)
    )


def _failures(kept: Kept | None, site: Site) -> int:
    """How many tries in a row have failed for the same names at the same authority."""
    same = kept is not None and (kept.site.names, kept.site.directory) == (site.names, site.directory)
    return kept.failures if kept and same else 0


def _names_all(kept: Kept, site: Site) -> bool:
    return kept.certificate is not None and not sites.uncovered(site.names, kept.certificate.names)


def _meanwhile(kept: Kept | None, site: Site) -> str:
    """What visitors get until there is a certificate with all names."""
    if kept is None or kept.certificate is None:
        return _APART
    if kept.certificate.left(time.time()) <= 0:
        return "the one there is stays, though browsers distrust it: it expired"
    lacking = sites.uncovered(site.names, kept.certificate.names)
    return f"for {', '.join(lacking)} {_APART}" if lacking else "the one there is stays"


def _together(before: Sequence[HostName], now: Sequence[HostName]) -> tuple[HostName, ...]:
    """The hosts of both: a rollout on one host of several forgets none of the others."""
    return tuple(dict.fromkeys((*before, *now)))


def _keep(store: Store, kept: Kept, *, who: str) -> None:
    value = Secret(json.dumps({"chain": kept.chain, "key": kept.key.reveal()}))
    ends = reading.when(kept.certificate.ends) if kept.certificate else None
    tries = {"problem": kept.problem, "tried": kept.tried, "failures": kept.failures}
    extra = {"site": kept.site.to_json(), "ends": ends, **tries}
    store.secrets.put(_KIND, app=kept.site.app, name=kept.site.environment, value=value, extra=extra, who=who)


def _warn(report: Report, code: str, what: str, fix: str) -> None:
    report(Event.WARNING, what=what, code=code, fix=fix)
