"""The store as one value: a state folder's paths come in, its nouns go out. Nothing is opened until a noun is asked.

Without an address of a database it is the SQLite file in that folder.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from deployd.store.approvals import Approvals
from deployd.store.apps import Apps
from deployd.store.audit import Audit
from deployd.store.database import Database
from deployd.store.deliveries import Deliveries
from deployd.store.events import Events
from deployd.store.facts import Facts
from deployd.store.freezes import Freezes
from deployd.store.gitkeys import GitKeys
from deployd.store.hosts import Hosts
from deployd.store.keyring import Keyring
from deployd.store.livelog import LiveLog
from deployd.store.marks import Marks
from deployd.store.pins import Pins
from deployd.store.previews import Previews
from deployd.store.queue import Queue
from deployd.store.releases import Releases
from deployd.store.rollouts import Rollouts
from deployd.store.schedules import Schedules
from deployd.store.secrets import Secrets
from deployd.store.tokens import Tokens
from deployd.store.traffic import Traffic
from deployd.store.variables import Variables

if TYPE_CHECKING:
    from deployd.paths import StatePaths
    from deployd.store.presence import Presence


class Store:
    """Everything that deployd remembers."""

    def __init__(self, paths: StatePaths, database_url: str | None = None) -> None:
        self.paths = paths
        self.database = _database(paths, database_url)
        self._presence: Presence | None = None
        self._lock = threading.Lock()
        self.facts = Facts(self.database)
        self.keyring = Keyring(paths.key, self.facts, shared=self.database.shared)
        self.hosts = Hosts(self.database)
        self.releases = Releases(self.database)
        self.rollouts = Rollouts(self.database)
        self.events = Events(self.database)
        self.variables = Variables(self.database, self.keyring)
        self.marks = Marks(self.database)
        self.pins = Pins(self.database)
        self.live_log = LiveLog(self.database)
        self.apps = Apps(self.database)
        self.queue = Queue(self.database)
        self.tokens = Tokens(self.database)
        self.audit = Audit(self.database)
        self.schedules = Schedules(self.database)
        self.freezes = Freezes(self.database)
        self.approvals = Approvals(self.database)
        self.deliveries = Deliveries(self.database)
        self.secrets = Secrets(self.database, self.keyring)
        self.previews = Previews(self.database)
        self.git_keys = GitKeys(self.database)
        self.traffic = Traffic(self.database)

    @property
    def presence(self) -> Presence | None:
        """This process among the others on a database that several share; None on SQLite."""
        with self._lock:
            if self._presence is None and self.database.shared:
                from deployd.store.presence import Presence

                self._presence = Presence(self.database, self.paths)
            return self._presence

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            presence, self._presence = self._presence, None
        if presence:
            presence.close()
        self.database.close()


def _database(paths: StatePaths, url: str | None) -> Database:
    if not url:
        return Database(paths.database)
    from deployd.store.postgres import Postgres  # its dialect takes 0.1 s to import

    return Postgres(url)
