"""Shipping over a wire that breaks: tried again, a bounded number of times, and only when it had begun."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from deployd.domain.artifact import FileEntry, Manifest, Provenance, Runtime
from deployd.domain.events import Event
from deployd.domain.ids import AppName, EnvironmentName, ReleaseId, RuntimeName
from deployd.errors import CancelledError, HostError, HostKeyError, UnreachableError
from deployd.hosts import causes
from deployd.hosts.pool import Pool
from deployd.hosts.wire import Sent
from deployd.stages import ship
from deployd.stages.ship import progress, transfer
from tests.unit.hosts.fakes import WEB1, FakeTransport

if TYPE_CHECKING:
    from pathlib import Path

APP, ENVIRONMENT = AppName.parse("shop"), EnvironmentName.parse("production")
RELEASE = ReleaseId.parse("20261121-101530-3fa9c01-aaaa")
RUNTIME = RuntimeName.parse("node-22.22.3-linux-x64-glibc")
SHA = "ab" * 32
LOST = causes.lost(WEB1, address="192.0.2.1", doing="rsync", live=None)


class FakeWire:
    def __init__(self, faults: list[BaseException | None]) -> None:
        self.faults = faults
        self.sent: list[tuple[tuple[str, ...], str]] = []

    def warm(self) -> None:
        pass

    def close(self) -> None:
        pass

    def send(self, names, *, base, to, on_bytes, cancel=None) -> Sent:
        self.sent.append((tuple(names), to))
        fault = self.faults.pop(0) if self.faults else None
        if fault:
            raise fault
        on_bytes(5)
        return Sent(bytes=7, seconds=0.1)


class Stage:
    """One host that lacks one object, behind a wire that breaks as told."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.artifacts = folder
        object_ = folder / "objects" / SHA[:2] / SHA
        object_.parent.mkdir(parents=True)
        object_.write_bytes(b"x" * 5)
        self.replies: dict[str, Any] = {
            "runtime-begin": {"present": True, "incoming": None},
            "begin": {"sealed": False, "missing": [SHA], "have": 2, "bytes_missing": 5, "current": None, "disk_free": 9,
                      "incoming": "/srv/deployd/incoming/shop-production/r/"},
            "seal": {"sealed": True, "files": 3, "linked": 2, "copied": 0, "bytes": 5, "seconds": 0.1},
        }  # fmt: skip
        self.transport = FakeTransport(lambda argv, _: self.replies[argv[0]])
        self.pool = Pool.of({WEB1: self.transport})
        self.wire = FakeWire([])
        monkeypatch.setattr(self.pool, "wire", lambda _: self.wire)
        self.rewired: list[str] = []
        monkeypatch.setattr(self.pool, "rewire", self.rewired.append)
        monkeypatch.setattr(transfer, "_PAUSE", 0.001)
        self.heard: list[tuple[Event, dict[str, Any]]] = []

    def ship(self, cancel: threading.Event | None = None) -> ship.Shipped:
        return ship.ship(
            self.pool, WEB1, app=APP, environment=ENVIRONMENT, release=RELEASE,
            manifest=Manifest(entry="s.js", files=(FileEntry(path="s.js", mode=0o644, size=5, sha256=SHA),)),
            provenance=PROVENANCE, runtime=Runtime(name=RUNTIME, path="/r/node", sha256=SHA, size=9),
            artifacts=self.artifacts, report=lambda event, **fields: self.heard.append((event, fields)), cancel=cancel,
        )  # fmt: skip

    def verbs(self) -> list[str]:
        return [call[0] for call in self.transport.calls]


PROVENANCE = Provenance(
    app=APP, environment=ENVIRONMENT, release=RELEASE, artifact="a", build_id="b", runtime=RUNTIME, commit=None,
    branch=None, ref=None, dirty=False, subject=None, author=None, who="w", message=None, created="x", node="22",
    lockfile_sha256=None, framework="nextjs", deployd="0",
)  # fmt: skip


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(tmp_path, monkeypatch)


def test_what_is_missing_travels_by_its_hash(stage: Stage) -> None:
    shipped = stage.ship()
    assert stage.wire.sent == [((f"ab/{SHA}",), "/srv/deployd/incoming/shop-production/r/")]
    assert stage.verbs() == ["runtime-begin", "begin", "seal"]
    assert (shipped.sent, shipped.bytes_sent, shipped.linked) == (1, 7, 2)
    assert [event for event, _ in stage.heard] == [Event.HOST_COMPARED, Event.BYTES_SENT, Event.RELEASE_SEALED]


def test_nothing_missing_is_no_transfer(stage: Stage) -> None:
    stage.replies["begin"] |= {"missing": [], "bytes_missing": 0}
    assert stage.ship().bytes_sent == 0
    assert not stage.wire.sent


def test_a_runtime_that_is_missing_goes_first(stage: Stage) -> None:
    stage.replies["runtime-begin"] = {"present": False, "incoming": "/srv/deployd/incoming/runtimes/n/"}
    stage.replies["runtime-seal"] = {"sealed": True}
    assert stage.ship().bytes_sent == 14
    assert stage.wire.sent[0] == (("node",), "/srv/deployd/incoming/runtimes/n/")
    assert stage.verbs() == ["runtime-begin", "runtime-seal", "begin", "seal"]


def test_a_broken_wire_goes_on_where_it_was(stage: Stage) -> None:
    stage.wire.faults = [LOST, LOST]
    assert stage.ship().sent == 1
    assert stage.rewired == [WEB1, WEB1]
    warnings = [fields for event, fields in stage.heard if event == Event.WARNING]
    assert [one["code"] for one in warnings] == ["connection-lost"] * 2


def test_it_is_given_up_after_three_more_tries(stage: Stage) -> None:
    stage.wire.faults = [LOST] * 9
    with pytest.raises(UnreachableError) as caught:
        stage.ship()
    assert len(stage.wire.sent) == transfer.RETRIES + 1
    assert caught.value.code == "connection-lost"
    assert "unchanged" in (caught.value.live or "")


def test_a_host_that_does_not_come_back_is_tried_as_long(stage: Stage) -> None:
    stage.wire.faults = [LOST]
    down = UnreachableError("no answer", fix="wait", host=WEB1)
    tries: list[int] = []

    def rewire(_name: str) -> None:
        tries.append(1)
        stage.transport.connect_error = down

    stage.pool.rewire = rewire  # type: ignore[method-assign, assignment]
    with pytest.raises(UnreachableError, match="no answer"):
        stage.ship()
    assert len(tries) == 3


@pytest.mark.parametrize(
    "error",
    [
        UnreachableError("no answer", fix="wait"),
        HostKeyError("changed", fix="compare"),
        HostError("full", code="disk-full", fix="free"),
    ],
)
def test_what_is_no_broken_wire_is_not_tried_again(stage: Stage, error: HostError) -> None:
    stage.transport.connect_error = error
    with pytest.raises(type(error)):
        stage.ship()
    assert stage.transport.connects == 1


def test_a_cancel_ends_the_wait_between_tries(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_PAUSE", 60)
    stage.wire.faults = [LOST]
    cancel = threading.Event()
    threading.Timer(0.05, cancel.set).start()
    with pytest.raises(CancelledError) as caught:
        stage.ship(cancel)
    assert caught.value.host == WEB1


def test_a_cancel_before_the_seal_seals_nothing(stage: Stage) -> None:
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(CancelledError):
        stage.ship(cancel)
    assert "seal" not in stage.verbs()


def test_an_object_lost_here_is_named(stage: Stage) -> None:
    (stage.artifacts / "objects" / SHA[:2] / SHA).unlink()
    with pytest.raises(HostError, match=SHA) as caught:
        stage.ship()
    assert caught.value.code == "object-lost"


def test_progress_is_told_a_few_times_and_at_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    clock = iter([1.0, 1.01, 1.02, 5.0, 9.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    made = progress.Progress(lambda _event, **fields: told.append(fields["sent"]), host=WEB1, what="objects", total=100)
    for sent in (10, 20, 30, 90, 90):
        made(sent)
    made.finish()
    assert told == [10, 90, 100]
