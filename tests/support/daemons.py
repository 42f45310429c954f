"""A real `deployd serve` for tests: a process of its own, real sockets, folder hosts, and stand-ins for the stages.

daemons.py STATE HOSTS [LISTEN]
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOSTS = ("web1", "web2", "web3")


def drive():
    """The stand-ins of tests/faults/drive.py."""
    spec = importlib.util.spec_from_file_location("drive", ROOT / "tests" / "faults" / "drive.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Served:
    """A daemon that runs, and what it said. `close` ends it by SIGTERM."""

    def __init__(
        self,
        folder: Path,
        *,
        fault: str = "",
        env: dict[str, str] | None = None,
        listen: str = "",
        state: str = "state",
    ) -> None:
        self.folder, self.state, self.hosts = folder, folder / state, folder / "hosts"
        self.database = (env or {}).get("DEPLOYD_DATABASE_URL")
        self.log = folder / f"daemon-{time.monotonic_ns()}.log"
        settings = {"DEPLOYD_STOP_GRACE": "5s", **(env or {}), **({"DEPLOYD_TEST_FAULT": fault} if fault else {})}
        with self.log.open("w") as out:
            self.process = subprocess.Popen(
                [sys.executable, __file__, str(self.state), str(self.hosts), *([listen] if listen else [])],
                stdout=out, stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
                cwd=folder, start_new_session=True,
            )  # fmt: skip
        self.ready = self._until_ready()

    def _until_ready(self) -> dict:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            for told in self.told("daemon_ready"):
                return told
            time.sleep(0.02)
        return {}

    def told(self, event: str) -> list[dict]:
        lines = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    @property
    def port(self) -> int:
        return self.ready["listen"][0]

    def wait(self, seconds: float = 90) -> int:
        return self.process.wait(timeout=seconds)

    def close(self, number: int = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            return self.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def main() -> None:
    from deployd.daemon import main as daemon
    from deployd.paths import StatePaths
    from deployd.rollouts.testing import FolderPool, folder_host
    from deployd.settings import database_url, load
    from deployd.store import Store

    state, hosts = Path(sys.argv[1]), Path(sys.argv[2])
    drive().stand_in()
    paths = StatePaths(state).make()
    if "DRIVE_LEASE" in os.environ:
        from deployd.store import presence

        presence.LEASE = float(os.environ["DRIVE_LEASE"])
    store = Store(paths, database_url())
    for name in HOSTS:
        store.hosts.put(folder_host(name), who="ada")
    store.close()
    settings = {**load(), **({"listen": sys.argv[3]} if sys.argv[3:] else {})}
    code = daemon.serve(paths, settings, load=lambda: settings, connect=lambda some: FolderPool.below(hosts, some))
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
