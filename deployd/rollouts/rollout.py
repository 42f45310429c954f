"""One rollout with all it works with, wired by hand in `perform.py`: a recipe's steps get this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.domain.ids import ReleaseId

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from deployd.domain.events import Report
    from deployd.domain.ids import AppName, EnvironmentName, HostName, RolloutId
    from deployd.domain.options import Options
    from deployd.hosts.pool import Pool
    from deployd.paths import StatePaths
    from deployd.rollouts.control import Control
    from deployd.rollouts.leases import Leases
    from deployd.rollouts.recorder import Recorder
    from deployd.rollouts.slots import Slots
    from deployd.rollouts.wishes import Wish
    from deployd.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """What the steps of one rollout work with.

    `attempt` names this process's try; `resumed` says that another process tried before. `owner` is this process's name
    where others could take the rollout over.
    """

    id: RolloutId
    wish: Wish
    who: str
    attempt: str
    resumed: bool
    paths: StatePaths
    store: Store
    pool: Pool
    leases: Leases
    recorder: Recorder
    control: Control
    pool_of: Callable[[Sequence[HostName]], Pool] | None = None
    """Other hosts than the rollout's own: they may have what this machine lacks."""
    builds: Slots | None = None
    owner: str | None = None

    @property
    def app(self) -> AppName:
        """The app."""
        return self.wish.app

    @property
    def environment(self) -> EnvironmentName:
        """The environment."""
        return self.wish.environment

    @property
    def hosts(self) -> tuple[HostName, ...]:
        """The hosts that were asked for."""
        return self.wish.hosts

    @property
    def options(self) -> Options:
        """The app's options in this environment."""
        return self.wish.options

    @property
    def report(self) -> Report:
        """Takes events."""
        return self.recorder

    @property
    def stop(self) -> threading.Event:
        """Set when stages must stop what they do."""
        return self.control.stop

    def release_id(self, commit: str | None) -> ReleaseId:
        """The id of the release that this makes: made the first time, the same from then on."""
        found = self.store.rollouts.get(self.id).release
        if found is None:
            found = ReleaseId.new(commit=commit)
            self.store.rollouts.set_release(self.id, found)
        return found
