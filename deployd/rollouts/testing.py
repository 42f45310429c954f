"""Hosts that are folders, for tests of the engine: they keep what they have across `kill -9`, as real hosts do.

A double of the helper's promises (lock, epochs, expected release, flips), not of its work: nothing is shipped or
started. Files beside a host's state make it misbehave: `down`, `fail-<verb>` (each call), `fail-<verb>-once`.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from deployd.domain.host import Host
from deployd.domain.ids import HostName
from deployd.errors import UnreachableError
from deployd.hosts.causes import NOT_ASKED
from deployd.hosts.pool import Pool
from deployd.hosts.transport import Reply
from deployd.hosts.verbs import NONE
from deployd.rollouts.testingstreams import Held, Ran

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path


Json = dict[str, Any]


class RefusedError(Exception):
    """The folder host says no, with a code."""


class FolderHost:
    """One host in a folder: a `Transport`."""

    def __init__(self, name: HostName, root: Path) -> None:
        self._name = name
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    @property
    def name(self) -> HostName:
        """The host's name."""
        return self._name

    @property
    def address(self) -> str:
        """The folder."""
        return str(self.root)

    @property
    def current(self) -> str | None:
        """What is live, as the kernel sees it."""
        link = self.root / "current"
        return str(link.readlink()) if link.is_symlink() else None

    def connect(self) -> None:
        """Be up, or not."""
        if (self.root / "down").exists():
            raise UnreachableError(f"{self.name} does not answer", host=self.name, live=NOT_ASKED, fix="see its power")

    def close(self) -> None:
        """There is nothing to close."""

    def call(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout: float = 60,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Do one verb."""
        del timeout, cancel
        self.connect()
        document: Json = json.loads(stdin) if stdin and stdin[:1] == b"{" else {}
        with (self.root / "calls").open("a") as calls:
            calls.write(" ".join(argv) + "\n")
        try:
            self._fail(argv[0])
            with self._state() as state:
                verb: Callable[[Json, Sequence[str], Json], Json] = getattr(self, "_" + argv[0].replace("-", "_"))
                reply = {"ok": True, **verb(state, argv[1:], document)}
        except RefusedError as refused:
            reply = {"ok": False, "code": str(refused), "what": f"refused: {refused}", "live": self.current}
        return Reply(0 if reply["ok"] else 1, json.dumps(reply).encode(), b"")

    def open(self, argv: Sequence[str]) -> Held | Ran:
        """Hold the lock, or run a command: the verbs that go on."""
        self.connect()
        if argv[0] == "exec":
            with (self.root / "calls").open("a") as calls:
                calls.write(" ".join(argv) + "\n")
            return Ran(self.root)
        return Held(self, argv)

    def take_epoch(self) -> int:
        """The next epoch."""
        with self._state() as state:
            state["epoch"] += 1
            return int(state["epoch"])

    @contextmanager
    def _state(self) -> Iterator[Json]:
        with (self.root / "state.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            file = self.root / "state.json"
            state: Json = (
                json.loads(file.read_text())
                if file.exists()
                else {"epoch": 0, "releases": {}, "log": [], "configured": False}
            )
            yield state
            aside = self.root / "state.json.part"
            aside.write_text(json.dumps(state))
            aside.replace(file)

    def _fail(self, verb: str) -> None:
        once = self.root / f"fail-{verb}-once"
        if once.exists():
            code = once.read_text().strip() or "failed"
            once.unlink()
            raise RefusedError(code)
        always = self.root / f"fail-{verb}"
        if always.exists():
            raise RefusedError(always.read_text().strip() or "failed")

    def _facts(self, _state: Json, _args: Sequence[str], _document: Json) -> Json:
        return {
            "helper": 1,
            "os": "debian",
            "cpu": "x64",
            "libc": "glibc",
            "cores": 1,
            "memory": 1,
            "disk_free": 1,
            "systemd": 252,
            "rsync": "3.2.7",
            "web": "2.10.0",
            "runtimes": [],
            "time": time.time(),
        }

    def _runtime_begin(self, _state: Json, _args: Sequence[str], _document: Json) -> Json:
        return {"present": True}

    def _holder(self, _state: Json, _args: Sequence[str], _document: Json) -> Json:
        with (self.root / "hold").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                told: Json = json.loads((self.root / "holder").read_text() or "{}")
                return {**told, "held": True}
        return {"held": False}

    def _unlock(self, state: Json, _args: Sequence[str], _document: Json) -> Json:
        state["epoch"] += 1
        (self.root / "broken-open").write_text(str(time.time()))
        return {"released": True}

    def _configure(self, state: Json, args: Sequence[str], _document: Json) -> Json:
        changed = [] if state["configured"] else ["units", "site"]
        state["configured"] = state["configured"] or "--check" not in args
        return {"changed": changed}

    def _begin(self, state: Json, args: Sequence[str], _document: Json) -> Json:
        return {"sealed": args[2] in state["releases"], "missing": [], "current": self.current}

    def _seal(self, state: Json, args: Sequence[str], _document: Json) -> Json:
        state["releases"].setdefault(args[2], {"running": False, "live": False})
        return {"sealed": True}

    def _env(self, state: Json, args: Sequence[str], document: Json) -> Json:
        state["releases"][args[2]]["variables"] = sorted(document["variables"])
        return {}

    def _start(self, state: Json, args: Sequence[str], _document: Json) -> Json:
        if args[2] not in state["releases"]:
            raise RefusedError("not-sealed")
        state["releases"][args[2]]["running"] = True
        return {"started": True}

    def _probe(self, _state: Json, _args: Sequence[str], _document: Json) -> Json:
        return {"attempts": 1, "waited_s": 0.0, "status": 200, "first_byte_ms": 1.0}

    def _probe_web(self, _state: Json, args: Sequence[str], _document: Json) -> Json:
        if self.current != args[2]:
            raise RefusedError("probe-failed")
        return {"attempts": 1, "waited_s": 0.0, "status": 200, "first_byte_ms": 1.0}

    def _flip(self, state: Json, args: Sequence[str], _document: Json) -> Json:
        release, expected, epoch = args[2], args[4], int(args[6])
        before = self.current
        if epoch < state["epoch"]:
            raise RefusedError("fenced")
        if before == release:
            return {"previous": before, "current": release, "at": time.time(), "already": True}
        if (before or NONE) != expected:
            raise RefusedError("expectation-failed")
        if not state["releases"].get(release, {}).get("running"):
            raise RefusedError("not-started")
        self._point(release)
        state["releases"][release]["live"] = True
        state["log"].append([release, time.time()])
        return {"previous": before, "current": release, "at": time.time(), "already": False}

    def _unflip(self, state: Json, args: Sequence[str], _document: Json) -> Json:
        target, epoch, before = args[3], int(args[5]), self.current
        if epoch < state["epoch"]:
            raise RefusedError("fenced")
        if target == NONE:
            (self.root / "current").unlink(missing_ok=True)
        else:
            self._point(target)
        return {"previous": before, "current": self.current, "at": time.time(), "already": before == self.current}

    def _point(self, release: str) -> None:
        aside = self.root / "current.part"
        aside.unlink(missing_ok=True)
        aside.symlink_to(release)
        aside.replace(self.root / "current")

    def _stop(self, state: Json, args: Sequence[str], _document: Json) -> Json:
        if args[2] == self.current:
            raise RefusedError("is-current")
        if args[2] in state["releases"] and "--after" not in args:  # who is told to stop later runs on in a test
            state["releases"][args[2]]["running"] = False
        return {}

    def _restart(self, _state: Json, _args: Sequence[str], _document: Json) -> Json:
        return {"restarted": 1}

    def _status(self, state: Json, _args: Sequence[str], _document: Json) -> Json:
        times = dict(state["log"])
        return {
            "current": self.current,
            "epoch": state["epoch"],
            "since": times.get(self.current),
            "releases": [
                {
                    "id": name,
                    "state": "current" if name == self.current else "warm" if one["running"] else "cold",
                    "was_live": one["live"],
                    "live_at": times.get(name),
                    "instances": {"wanted": 1, "running": int(one["running"])},
                }
                for name, one in sorted(state["releases"].items())
            ],
            "maintenance": state.get("maintenance"),
            "canary": state.get("canary"),
            "drained": state.get("drained", []),
            "certificate": {"since": 0, "until": state.get("expired"), "missing": state.get("uncertified", [])},
        }

    def _drain(self, state: Json, _args: Sequence[str], document: Json) -> Json:
        drained = set(state.get("drained", []))
        by = document["by"] if document["by"] == "rollout" else "app" if "app" in document else "host"
        if document["on"] is not None:
            state["drained"] = sorted(drained | {by} if document["on"] else drained - {by})
            state.setdefault("drains", []).append([document["on"], by, self.current])
        changed = state.get("drained", []) != sorted(drained)
        return {"drained": state.get("drained", []), "changed": changed, "open": 0}

    def _maintenance(self, state: Json, _args: Sequence[str], document: Json) -> Json:
        before = state.get("maintenance")
        state["maintenance"] = {"since": time.time(), "allow": document["allow"]} if document["on"] else None
        return {"changed": bool(before) != document["on"]}

    def _canary(self, state: Json, _args: Sequence[str], document: Json) -> Json:
        before = state.get("canary")
        if document["release"] and document["release"] not in state["releases"]:
            raise RefusedError("not-sealed")
        state["canary"] = dict(document) if document["release"] else None
        return {"canary": state["canary"], "was": before}

    def _share(self, state: Json, _args: Sequence[str], document: Json) -> Json:
        state.setdefault("shares", {})[document["key"]] = document["label"]
        return {"until": time.time() + document["seconds"]}

    def _traffic(self, _state: Json, args: Sequence[str], _document: Json) -> Json:
        """What the file `traffic` says that each release answers in any window: rows as the helper's.

        Where there is a file `traffic-now`, that is what it answers in the seconds before now.
        """
        asked = dict(itertools.pairwise(args))
        now, text = time.time(), asked["--since"]
        told = self.root / "traffic-now"
        told = told if told.exists() and not text.startswith("@") else self.root / "traffic"
        since = float(text[1:]) if text.startswith("@") else now - 60
        rows = json.loads(told.read_text()) if told.exists() else []
        until = min(now, float(asked.get("--until", f"@{now}").removeprefix("@")))
        series = [[since, *row] for row in rows]
        return {"now": now, "since": since, "until": until, "oldest": None, "series": series, "vitals": []}

    def _prune(self, state: Json, _args: Sequence[str], document: Json) -> Json:
        wanted = {*document["keep"], *document["protect"], self.current}
        removed = [name for name in state["releases"] if name not in wanted]
        for name in removed:
            del state["releases"][name]
        return {"removed": removed}

    def _remove_app(self, state: Json, _args: Sequence[str], _document: Json) -> Json:
        there = bool(state["releases"])
        state["releases"], state["log"] = {}, []
        (self.root / "current").unlink(missing_ok=True)
        return {"removed": there, "freed_bytes": 1000 if there else 0}

    def _discard(self, state: Json, args: Sequence[str], _document: Json) -> Json:
        if args[2] == self.current:
            raise RefusedError("is-current")
        if state["releases"].get(args[2], {}).get("live"):
            raise RefusedError("was-live")
        return {"discarded": bool(state["releases"].pop(args[2], None))}


class FolderPool(Pool):
    """A pool of folder hosts. Nothing travels: rsync's door is never opened."""

    @classmethod
    def below(cls, root: Path, hosts: Sequence[Host]) -> FolderPool:
        """The hosts, a folder each below `root`."""
        transports: Mapping[HostName, FolderHost] = {
            host.name: FolderHost(host.name, root / host.name) for host in hosts
        }
        return cls([], paths=None, transports=transports)

    def wire(self, name: HostName) -> Any:
        """A door that only warms."""
        del name
        return _NoWire()


class _NoWire:
    def warm(self) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def folder_host(name: str) -> Host:
    """A host for the store, whose folder is below the pool's root."""
    return Host(name=HostName.parse(name), address="folder", host_key="ssh-ed25519 AAAA")
