"""A daemon that is wired and not started: its API is called in this process, by a token or as a unix socket's peer."""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

from deployd.daemon import wiring
from deployd.daemon.api.app import make_app
from deployd.paths import StatePaths
from deployd.rollouts import locks
from deployd.rollouts.testing import FolderPool, folder_host

if TYPE_CHECKING:
    from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it would rather have another client than the one that is pinned here
    from starlette.testclient import TestClient


class Frame:
    """`client` calls over TCP (nobody yet); `local` over the unix socket, as this process's user."""

    def __init__(self, folder: Path) -> None:
        self.paths = StatePaths(folder / "state").make()
        self.lock = locks.folder_lock(self.paths)
        assert self.lock.take(locks.held_by(who="test", command="test"))
        self.daemon = wiring.make(
            self.paths, {}, folder=self.lock, connect=lambda hosts: FolderPool.below(folder / "hosts", hosts)
        )
        for name in ("web1", "web2"):
            self.daemon.store.hosts.put(folder_host(name), who="test")
        self.app = make_app(self.daemon)
        self.client = TestClient(self.app, raise_server_exceptions=False)
        self.local = TestClient(self.as_peer(os.getuid()), raise_server_exceptions=False)

    def as_peer(self, uid: int, gid: int = 0):
        """The app as somebody on this machine calls it."""

        async def peer(scope, receive, send):
            if scope["type"] == "http":
                scope = {**scope, "state": {**scope.get("state", {}), "peer": (1, uid, gid)}}
            await self.app(scope, receive, send)

        return peer

    def token(self, scope: str = "admin", *apps: str, expires: str | None = None) -> dict[str, str]:
        """The headers of a new token."""
        _, secret = self.daemon.store.tokens.create(scope=scope, apps=apps, expires=expires, note=None, who="test")
        return {"Authorization": f"Bearer {secret.reveal()}"}

    def close(self) -> None:
        self.daemon.store.close()
        self.lock.close()
