"""The store as one value: a state folder's paths come in, its nouns go out. Nothing is opened until a noun is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.store.approvals import Approvals
from deployd.store.apps import Apps
from deployd.store.audit import Audit
from deployd.store.database import Database
from deployd.store.deliveries import Deliveries
from deployd.store.events import Events
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
from deployd.store.variables import Variables

if TYPE_CHECKING:
    from deployd.paths import StatePaths


class Store:
    """Everything that deployd remembers."""

    def __init__(self, paths: StatePaths) -> None:
        self.database = Database(paths.database)
        self.hosts = Hosts(self.database)
        self.releases = Releases(self.database)
        self.rollouts = Rollouts(self.database)
        self.events = Events(self.database)
        self.variables = Variables(self.database, Keyring(paths.key))
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
        self.secrets = Secrets(self.database, Keyring(paths.key))
        self.previews = Previews(self.database)
        self.git_keys = GitKeys(self.database)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()
