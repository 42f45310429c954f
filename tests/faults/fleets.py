"""Three folder hosts, a state folder, and processes that are killed while they work on them."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from deployd.client import Client
from deployd.domain.ids import AppName, EnvironmentName, HostName
from deployd.paths import StatePaths
from deployd.rollouts import steps
from deployd.rollouts.states import TERMINAL, State
from deployd.rollouts.testing import FolderHost, folder_host

DRIVE = Path(__file__).with_name("drive.py")
APP, PRODUCTION = AppName.parse("shop"), EnvironmentName.parse("production")
HOSTS = ("web1", "web2", "web3")
KILLED = -signal.SIGKILL


class Server:
    """Imports the engine once and forks a process for each run: an import takes longer than a rollout."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, str(DRIVE), "serve"], stdin=subprocess.PIPE, text=True, cwd=folder, start_new_session=True
        )

    def start(self, argv: list[str], env: dict[str, str]) -> Run:
        self._count += 1
        out = self._folder / f"run-{self._count}"
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"argv": argv, "env": env, "out": str(out)}) + "\n")
        self._process.stdin.flush()
        return Run(out)

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)


class Run:
    """One forked process."""

    def __init__(self, out: Path) -> None:
        self._out = out

    @property
    def pid(self) -> int:
        file = Path(f"{self._out}.pid")
        wait_for(lambda: file.exists() and file.read_text())
        return int(file.read_text())

    def end(self) -> tuple[int, dict]:
        code = Path(f"{self._out}.code")
        wait_for(code.exists, seconds=120)
        text = self._out.read_text()
        assert text or int(code.read_text()) == KILLED, Path(f"{self._out}.err").read_text()
        return int(code.read_text()), json.loads(text) if text else {}


class Fleet:
    """Three folder hosts, a state folder, and processes that work on them."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder, self.server = folder, server
        self.state, self.hosts = folder / "state", folder / "hosts"

    def add_hosts(self) -> None:
        client = self.client()
        for name in HOSTS:
            client.add_host(folder_host(name))
        client.close()

    def copy(self, to: Path) -> Fleet:
        spare = shutil.ignore_patterns(".reserve")  # 8 MiB for bad days
        shutil.copytree(self.folder, to, symlinks=True, dirs_exist_ok=True, ignore=spare)
        return Fleet(to, self.server)

    def client(self) -> Client:
        return Client(StatePaths(self.state), who="ada")

    def start(self, verb: str, *options: str, fault: str = "", **env: str) -> Run:
        argv = [str(self.state), str(self.hosts), verb, *options]
        return self.server.start(argv, {steps.FAULT_VARIABLE: fault, **env})

    def run(self, verb: str, *options: str, fault: str = "", **env: str) -> tuple[int, dict]:
        return self.start(verb, *options, fault=fault, **env).end()

    def end(self, run: Run) -> tuple[int, dict]:
        return run.end()

    def host(self, name: str) -> FolderHost:
        return FolderHost(HostName.parse(name), self.hosts / name)

    @property
    def live(self) -> dict[str, str | None]:
        return {name: self.host(name).current for name in HOSTS}

    @property
    def states(self) -> list[str]:
        client = self.client()
        found = [record.state for record in reversed(client.rollouts(APP, PRODUCTION))]
        client.close()
        return found

    def assert_one_live(self, *releases: str | None) -> None:
        assert len(set(self.live.values())) == 1, self.live
        assert set(self.live.values()) <= set(releases), (self.live, releases)

    def assert_complete(self) -> None:
        """Promise 1: whatever `current` names is sealed and was started."""
        for name in HOSTS:
            host = self.host(name)
            if host.current:
                kept = json.loads((host.root / "state.json").read_text())["releases"]
                assert kept[host.current]["running"], (name, host.current)

    def assert_settled(self) -> None:
        assert all(State(state) in TERMINAL for state in self.states), self.states


def wait_for(condition, *, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def release_of(fleet: Fleet) -> str | None:
    client = fleet.client()
    found = client.rollouts(APP, PRODUCTION, limit=1)[0].release
    client.close()
    return found
