"""What is done on the hosts of a rollout, on all of them at once: JSON comes in, JSON for a checkpoint goes out.

Each of these may run twice. A host's failure is an error that names it; the first one stops the others.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from deployd.domain import sites
from deployd.domain.events import Event
from deployd.domain.ids import HostName, ReleaseId
from deployd.errors import CancelledError, DeploydError, HostError, NotFoundError, UnreachableError, on_host
from deployd.rollouts import drains, values
from deployd.stages import activate, supervise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deployd.domain.options import Probe, Run, Waves
    from deployd.hosts.helper import Helper
    from deployd.hosts.replies import AppStatus
    from deployd.rollouts.rollout import Rollout
    from deployd.rollouts.values import Json

_T = TypeVar("_T")
Previous = dict[HostName, "ReleaseId | None"]


class AnyEvent(threading.Event):
    """Set when itself or another Event is set: stops the hosts that go on when one has failed."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self._other = other

    def is_set(self) -> bool:
        """Whether either is set."""
        return super().is_set() or self._other.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the other one; itself is looked at afterwards."""
        return self.is_set() or self._other.wait(timeout) or self.is_set()


def check(rollout: Rollout) -> Json:
    """Ask each host what it is, before anything is built for it. Returns the CPU and libc that the fleet has."""
    from deployd.rollouts import assets, certifying, sharedcache

    certifying.check_own(rollout.options.run)
    assets.check(rollout)
    sharedcache.check(rollout.app, rollout.environment, rollout.options.run, rollout.store.variables)
    facts = each(rollout, lambda helper, _stop: helper.facts())
    for name in facts:
        rollout.report(Event.HOST_CONNECTED, host=name)
    kinds = {(found.cpu, found.libc): name for name, found in facts.items()}
    if len(kinds) > 1:
        names = "; ".join(f"{name} is {cpu} with {libc}" for (cpu, libc), name in kinds.items())
        raise HostError(
            f"the hosts need different runtimes: {names}",
            code="fleet-mixed",
            live="unchanged",
            fix="give each kind of host an environment of its own",
        )
    for name, found in facts.items():
        if not found.rsync or not found.web:
            missing = "rsync" if not found.rsync else "the web server"
            raise HostError(
                f"{name} has no {missing}",
                code="host-not-ready",
                host=name,
                live="unchanged",
                fix=f"run `deployd host bootstrap {name}`",
            )
        if found.forbids:
            what, fix = found.forbids
            raise HostError(f"{name}: {what}", code="host-mount-unfit", host=name, live="unchanged", fix=fix)
        if found.web_answers is False:
            raise HostError(
                f"the web server of {name} does not answer: the new release would reach nobody",
                code="web-silent",
                host=name,
                live="unchanged",
                fix=f"see `deployd host check {name}`, and `journalctl -u deployd-web` there; then "
                "`systemctl restart deployd-web`",
                retryable=True,
            )
    # a name or a port that another app has is told before anything is built
    each(
        rollout,
        lambda helper, _stop: helper.configure(rollout.app, rollout.environment, run=rollout.options.run, check=True),
    )
    cpu, libc = next(iter(kinds))
    return {"cpu": cpu, "libc": libc, "libc_version": _oldest([found.libc_version for found in facts.values()])}


def _oldest(versions: Sequence[str]) -> str:
    """The version that all hosts can do with; "" when one of them does not tell."""
    if not all(versions):
        return ""
    return min(versions, key=lambda text: tuple(int(part) for part in re.findall(r"[0-9]+", text)))


def intent(rollout: Rollout) -> Json:
    """Take the app's lock on each host, and keep what each has now: this is what turning back goes to."""
    held = rollout.leases.hold(rollout.hosts)
    raise_first(held, live="unchanged")
    previous = {str(name): release for name, release in rollout.leases.current(rollout.hosts).items()}
    rollout.store.rollouts.set_intent(rollout.id, previous)
    return previous


def previous_of(kept: Mapping[str, Any]) -> Previous:
    """What `intent` kept, as ids."""
    return {HostName(name): ReleaseId(release) if release else None for name, release in kept.items()}


def prepare(rollout: Rollout, release: ReleaseId, run: Run | None, probe: Probe) -> Json:
    """Start the release on every host and wait until each is healthy. With `run`, units and site are made first."""
    hold(rollout)
    if run is not None:
        from deployd.rollouts import certifying

        certifying.bring(rollout, run)
    variables = rollout.store.variables.of_release(release) if run else None

    def one(helper: Helper, stop: threading.Event) -> activate.Prepared:
        return activate.prepare(
            rollout.pool,
            helper.name,
            app=rollout.app,
            environment=rollout.environment,
            release=release,
            run=run,
            probe=probe,
            variables=variables,
            report=rollout.report,
            cancel=stop,
        )

    prepared = each(rollout, one)
    return {str(name): one.attempts for name, one in prepared.items()}


def waves(hosts: Sequence[HostName], options: Waves) -> tuple[tuple[HostName, ...], ...]:
    """The order in which hosts are flipped: all at once, so many at a time, or one first and then the rest."""
    if options.strategy == "all" or len(hosts) < 2:  # noqa: PLR2004 - one host is one wave
        return (tuple(hosts),)
    if options.strategy == "canary":
        return (tuple(hosts[:1]), tuple(hosts[1:]))
    size = max(1, options.batch)
    return tuple(tuple(hosts[start : start + size]) for start in range(0, len(hosts), size))


def flip(rollout: Rollout, release: ReleaseId, expected: Previous) -> Json:
    """Flip these hosts at once. Failures are in the result, because some hosts may have flipped."""
    drains.take_out(rollout, [name for name, before in expected.items() if before])
    held = rollout.leases.hold(expected)
    raise_first(held)
    epochs = {name: lease.epoch for name, lease in held.items() if not isinstance(lease, HostError)}
    outcomes = activate.flip(
        rollout.pool,
        expected,
        app=rollout.app,
        environment=rollout.environment,
        release=release,
        epochs=epochs,
        report=rollout.report,
    )
    errors = {name: one for name, one in outcomes.items() if isinstance(one, HostError)}
    return {
        "hosts": [str(name) for name in expected],
        "at": {
            str(name): one.at for name, one in outcomes.items() if not isinstance(one, HostError) and not one.already
        },
        "errors": {str(name): values.error_to_json(error) for name, error in errors.items()},
    }


def check_flipped(flipped: Json) -> None:
    """Raise the first failure that a `flip` kept."""
    raise_first({HostName(name): values.error_from_json(error) for name, error in flipped["errors"].items()})


def probe_web(rollout: Rollout, release: ReleaseId, hosts: Sequence[HostName], probe: Probe) -> Json:
    """Ask each host's web server once, which must answer from the release: its health was seen before the flip."""
    outcomes = activate.probe_web(
        rollout.pool,
        hosts,
        app=rollout.app,
        environment=rollout.environment,
        release=release,
        probe=replace(probe, successes=1, warm=()),
        report=rollout.report,
        cancel=rollout.stop,
    )
    raise_first(outcomes)
    drains.give_back(rollout, hosts)
    return {}


def drain(rollout: Rollout, release: ReleaseId, previous: Previous) -> Json:
    """Stop what is started and needed no longer. The release before stays warm for a while: going back is a flip."""
    warm = rollout.options.run.warm
    warnings = 0

    def stop_old(helper: Helper) -> None:
        found = helper.status(rollout.app, rollout.environment)
        before = previous.get(helper.name)
        _tell_certificates(rollout, helper.name, found)
        for one in found.releases:
            if one.state in {"warm", "failed"} and one.id != release and one.was_live:
                helper.stop(rollout.app, rollout.environment, one.id, after=warm if one.id == before else 0)
                rollout.report(Event.RELEASE_DRAINED, host=helper.name, release=one.id)

    for name, error in rollout.pool.each(rollout.hosts, stop_old).items():
        if isinstance(error, HostError):
            warnings += 1
            warn(rollout, error, f"the old release on {name} was not stopped: {error.what}")
    return {"warnings": warnings}


def _tell_certificates(rollout: Rollout, host: HostName, found: AppStatus) -> None:
    """A host that obtains its certificate by itself does so while the release goes on; where deployd does, it told."""
    if sites.way_of(rollout.options.run) != "acme":
        return
    if found.certificate and found.certificate[1] <= time.time():
        what = f"the certificate of {host} has expired, and the authority gave no other one"
        fix = f"it is tried again; what the authority said: `journalctl -u deployd-web` on {host}"
        rollout.report(Event.WARNING, what=what, host=host, code="certificate-expired", fix=fix)
    if found.uncertified:
        names = ", ".join(found.uncertified)
        what = f"{host} has no certificate yet for {names}: http is answered until the authority gives one"
        fix = "`deployd status` shows whether it came, `deployd domain check` why it did not"
        rollout.report(Event.WARNING, what=what, host=host, code="certificate-missing", fix=fix)


def prune(rollout: Rollout) -> Json:
    """Remove what is kept no longer from each host. A failure is a warning: the release is live all the same."""
    try:
        pruned = prune_hosts(rollout)
    except DeploydError as error:
        warn(rollout, error, f"old releases were not removed: {error.what}")
        return {"removed": 0}
    for name, outcome in pruned.items():
        if isinstance(outcome, HostError):
            warn(rollout, outcome, f"old releases on {name} were not removed: {outcome.what}")
    return {"removed": sum(len(one.removed) for one in pruned.values() if not isinstance(one, HostError))}


def prune_hosts(rollout: Rollout) -> dict[HostName, Any]:
    """As `prune`, with an outcome for each host."""
    from deployd.rollouts import assets
    from deployd.rollouts.kept import bad_ones, protected_ones

    bad = bad_ones(rollout.store, rollout.app, rollout.environment)
    protected = protected_ones(rollout.store, rollout.app, rollout.environment)
    found = rollout.pool.each(rollout.hosts, lambda helper: helper.status(rollout.app, rollout.environment))
    plans = {
        name: supervise.retention.plan(
            supervise.retention.candidates(status, bad=bad), keep=rollout.options.keep, protected=protected
        )
        for name, status in found.items()
        if not isinstance(status, HostError)
    }
    done = supervise.prune(
        rollout.pool,
        plans,
        app=rollout.app,
        environment=rollout.environment,
        protected=protected,
        report=rollout.report,
    )
    assets.prune(
        rollout.store,
        rollout.app,
        rollout.environment,
        assets=rollout.options.assets,
        found=found,
        pruned=done,
        report=rollout.report,
    )
    failed = {name: error for name, error in found.items() if isinstance(error, HostError)}
    return {**failed, **done}


def warn(rollout: Rollout, error: DeploydError, what: str) -> None:
    """Tell what went wrong without ending the rollout."""
    rollout.report(Event.WARNING, what=what, host=error.host, code=error.code, fix=error.fix)


def each(rollout: Rollout, do: Callable[[Helper, threading.Event], _T]) -> dict[HostName, _T]:
    """Do something on all hosts at once, a thread a host; the first failure stops the others and is raised."""
    stop = AnyEvent(rollout.stop)

    def one(helper: Helper) -> _T | CancelledError:
        try:
            return do(helper, stop)
        except CancelledError as error:
            return error
        except HostError:
            stop.set()
            raise

    outcomes = rollout.pool.each(rollout.hosts, one)
    raise_first(outcomes, live="unchanged")
    done: dict[HostName, _T] = {}
    for name, outcome in outcomes.items():
        if isinstance(outcome, DeploydError):
            raise outcome
        done[name] = outcome
    return done


def raise_first(outcomes: Mapping[HostName, Any], *, live: str | None = None) -> None:
    """Raise the weightiest failure of several hosts, with the others named in its details."""
    failures = {name: one for name, one in outcomes.items() if isinstance(one, DeploydError)}
    failures = {name: one for name, one in failures.items() if not isinstance(one, CancelledError)}
    if not failures:
        return
    # what a host said weighs more than that another could not be asked: it is where a person must look
    name, error = min(failures.items(), key=lambda item: isinstance(item[1], UnreachableError))
    others = [on_host(other, one.what) for other, one in failures.items() if other != name]
    details = "\n".join([*([error.details] if error.details else []), *others]) or None
    known = live if isinstance(error, UnreachableError) else None  # who could not be asked knows less than the caller
    raise error.but(host=error.host or name, details=details, live=known or error.live or live)


def require(target: ReleaseId, states: Mapping[HostName, AppStatus], *, live: str) -> None:
    """Raise NotFoundError `release-not-on-host` unless every host has that release."""
    lacking = [name for name, status in states.items() if status.release(target) is None]
    if not lacking:
        return
    common = [
        one.id
        for one in next(iter(states.values())).releases
        if one.was_live and all(status.release(one.id) for status in states.values())
    ]
    raise NotFoundError(
        f"{', '.join(lacking)} {'does' if len(lacking) == 1 else 'do'} not have release {target}",
        code="release-not-on-host",
        host=lacking[0],
        live=live,
        details=f"every host has: {', '.join(sorted(common, reverse=True)) or 'no earlier release'}",
        fix="name a release that every host has, or release that commit again: deployd release COMMIT",
    )


def hold(rollout: Rollout) -> None:
    """Have the app's lock on every host. Raises the first failure."""
    raise_first(rollout.leases.hold(rollout.hosts), live="unchanged")
