"""The app's lock on each host, held by this process while it works: hosts come in, their epochs go out.

Leases are not checkpointed: a process that resumes a rollout takes them anew and gets newer epochs, and each host then
refuses whatever the process before it may still send.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from deployd.errors import HostError, HostLockedError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId, RolloutId
    from deployd.hosts.helper import Helper
    from deployd.hosts.pool import Pool
    from deployd.hosts.streaming import Lease

# A process that has just ended: its connection closes and the far side lets go within moments.
_PATIENCE = 3.0


class Leases:
    """The leases of one rollout. Threads may share it."""

    def __init__(self, pool: Pool, *, app: AppName, environment: EnvironmentName, who: str, rollout: RolloutId) -> None:
        self._pool = pool
        self._app = app
        self._environment = environment
        self._who = who
        self._rollout = rollout
        self._held: dict[HostName, Lease] = {}
        self._lock = threading.Lock()

    def hold(self, hosts: Iterable[HostName]) -> dict[HostName, Lease | HostError]:
        """Have the lock on each host: those that are held stay, the others are taken."""
        with self._lock:
            wanted = tuple(hosts)
            missing = [name for name in wanted if name not in self._held or self._held[name].lost]
            outcomes = self._pool.each(missing, self._take)
            self._held |= {name: lease for name, lease in outcomes.items() if not isinstance(lease, HostError)}
            return {name: outcomes[name] if name in outcomes else self._held[name] for name in wanted}

    def break_open(self, hosts: Iterable[HostName]) -> None:
        """Take the lock from whoever has it: a process that does not answer any more."""
        self._pool.each(hosts, lambda helper: helper.unlock(self._app, self._environment))

    def current(self, hosts: Iterable[HostName]) -> dict[HostName, ReleaseId | None]:
        """What each held host had when its lease was taken."""
        return {name: self._held[name].current for name in hosts}

    def close(self) -> None:
        """Free all."""
        with self._lock:
            held, self._held = list(self._held.values()), {}
        for lease in held:
            lease.close()

    def _take(self, helper: Helper) -> Lease:
        """Hold one host. What an earlier attempt of this very rollout left behind a cut wire is taken over at once.

        The host would notice that the wire is gone only after some 20 s. No two attempts run at a time: this machine's
        own lock sees to that.
        """
        try:
            return self._hold(helper, wait=0)
        except HostLockedError:
            holder = helper.holder(self._app, self._environment)
        if holder.held and holder.rollout == self._rollout:
            helper.unlock(self._app, self._environment)
        return self._hold(helper, wait=_PATIENCE)

    def _hold(self, helper: Helper, *, wait: float) -> Lease:
        return helper.hold(self._app, self._environment, owner=self._who, rollout=self._rollout, wait=wait)
