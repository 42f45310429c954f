"""A fleet of folders with recipes that run in memory, and quick stand-ins for the stages of this machine."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from deployd.domain.options import Options, Waves
from deployd.domain.stages import SourceRequest
from deployd.paths import StatePaths
from deployd.rollouts import checkout, making, perform, settle, sharing, turnback, verifying
from deployd.rollouts.testing import FolderHost, FolderPool, folder_host
from deployd.rollouts.wishes import PromoteWish, ReleaseWish, RollbackWish
from deployd.rollouts.workshop import Workshop
from deployd.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

_DRIVE = Path(__file__).parents[2] / "faults" / "drive.py"


def _drive():
    spec = importlib.util.spec_from_file_location("drive", _DRIVE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DRIVE = _drive()


class Fleet:
    """Folder hosts and a workshop that works on them in this process, without DBOS."""

    app, environment = DRIVE.APP, DRIVE.PRODUCTION

    def __init__(self, folder: Path, names=("web1", "web2", "web3")) -> None:
        self.folder = folder
        self.paths = StatePaths(folder / "state").make()
        self.store = Store(self.paths)
        self.names = tuple(folder_host(name).name for name in names)
        for name in names:
            self.store.hosts.put(folder_host(name), who="ada")
        self.workshop = Workshop(
            self.paths,
            self.store,
            who="ada",
            connect=lambda hosts: FolderPool.below(folder / "hosts", hosts),
            durable=False,
        )
        self.events: list[dict] = []
        self.upon: dict[str, Callable[[dict], None]] = {}  # what is done before the rollout goes on after an event
        self.cancel = threading.Event()

    def report(self, event, /, **fields) -> None:
        self.events.append({"event": str(event), **fields})
        if str(event) in self.upon:
            self.upon[str(event)](fields)

    def told(self, event: str) -> list[dict]:
        return [one for one in self.events if one["event"] == event]

    def host(self, name: str) -> FolderHost:
        return FolderHost(folder_host(name).name, self.folder / "hosts" / name)

    def make(self, name: str, fault: str, text: str = "") -> None:
        """Make a host misbehave."""
        (self.host(name).root / fault).write_text(text)

    def mend(self, name: str, fault: str) -> None:
        (self.host(name).root / fault).unlink()

    def calls(self, name: str) -> list[str]:
        file = self.host(name).root / "calls"
        return [line.split()[0] for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def live(self) -> dict[str, str | None]:
        return {name: self.host(name).current for name in self.names}

    def assert_live(self, release) -> None:
        assert self.live == dict.fromkeys(self.names, release)

    def wish(self, commit: str = "one", *, waves: Waves | None = None, **more) -> ReleaseWish:
        return ReleaseWish(
            app=self.app,
            environment=self.environment,
            source=SourceRequest(repository="/r", ref=commit),
            hosts=self.names,
            options=more.pop("options", Options(waves=waves or Waves())),
            **more,
        )

    def release(self, commit: str = "one", **more):
        wish = self.wish(commit, **more)
        return perform.release(self.workshop, wish, report=self.report, cancel=self.cancel)

    def promote(self, release, *, environment):
        wish = PromoteWish(app=self.app, environment=environment, release=release, hosts=self.names, options=Options())
        return perform.release(self.workshop, wish, report=self.report, cancel=self.cancel)

    def rollback(self, release=None):
        wish = RollbackWish(
            app=self.app, environment=self.environment, hosts=self.names, options=Options(), release=release
        )
        return perform.rollback(self.workshop, wish, report=self.report, cancel=self.cancel)

    def resume(self):
        return settle.resume(self.workshop, report=self.report, cancel=self.cancel)

    def last(self):
        return self.store.rollouts.latest(limit=1)[0]


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for name in ("build_stage", "trace_stage", "package_stage", "runtimes"):
        monkeypatch.setattr(making, name, DRIVE.Stages)
    monkeypatch.setattr(checkout, "source_stage", DRIVE.Stages)
    monkeypatch.setattr(sharing, "package", DRIVE.Stages)
    monkeypatch.setattr(verifying, "verify_stage", DRIVE.Verification)
    monkeypatch.setattr(turnback, "_AGAIN_AFTER", 0.01)


@pytest.fixture
def fleet_of_three(tmp_path):
    made = Fleet(tmp_path)
    yield made
    made.store.close()
