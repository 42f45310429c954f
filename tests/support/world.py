"""A person at a terminal: a state folder, an app's folder, hosts of a lab, and the real command."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import apps

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployd.lab import LabHost

ROOT = Path(__file__).parents[2]
LOAD = Path(__file__).with_name("load.py")
DEPLOYD = Path(sys.executable).parent / "deployd"


@dataclass(frozen=True)
class Told:
    """What a command said."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str
    seconds: float

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1]

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.err.strip().splitlines()[-1])["error"]


@dataclass
class World:
    """Everything a test needs to act as a person. `hosts` are the lab's."""

    folder: Path
    hosts: tuple[LabHost, ...]
    state: Path
    name: str = "shop"
    toml: str = ""
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.app.mkdir(parents=True, exist_ok=True)
        self.write_toml()

    @property
    def app(self) -> Path:
        return self.folder / "app"

    def write_toml(self, extra: str = "", *, hosts: Sequence[str] | None = None, port: int = 80) -> None:
        names = ", ".join(f'"{name}"' for name in (hosts or [host.name for host in self.hosts]))
        (self.app / "deployd.toml").write_text(
            f'name = "{self.name}"\n[probe]\npath = "/health"\ntimeout = "15s"\n{extra}\n'
            f'[environments.production]\nbranch = "main"\nhosts = [{names}]\nport = {port}\n'
        )

    def environment(self) -> dict[str, str]:
        return {**os.environ, "DEPLOYD_STATE_DIR": str(self.state), "NO_COLOR": "1", **self.env}

    def run(self, *words: str, stdin: str | None = None, check: int | None = 0, timeout: float = 240) -> Told:
        """Run `deployd WORDS`; with `check`, its exit code must be that one."""
        started = time.monotonic()
        done = subprocess.run(
            [str(DEPLOYD), *words], cwd=self.app, env=self.environment(), input=stdin, capture_output=True, text=True,
            timeout=timeout, check=False, **({} if stdin is not None else {"stdin": subprocess.DEVNULL}),
        )  # fmt: skip
        told = Told(words, done.returncode, done.stdout, done.stderr, time.monotonic() - started)
        assert check is None or told.code == check, f"{words} exited with {told.code}\n{told.out}\n{told.err}"
        return told

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `deployd WORDS` in the background, its output in pipes."""
        return subprocess.Popen(
            [str(DEPLOYD), *words], cwd=self.app, env=self.environment(), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip

    def artifact(self, version: str, **what: Any) -> str:
        """An artifact file of a small app."""
        return str(apps.make(apps.App(version=version, **what), into=self.folder))

    def release(self, version: str, *words: str, check: int | None = 0, **what: Any) -> Told:
        """Release a small app of that version, as JSON events."""
        return self.run("release", "--artifact", self.artifact(version, **what), "--json", *words, check=check)

    def status(self, *, check: int | None = 0) -> dict[str, Any]:
        return self.run("status", "--json", check=check).document

    def ask(self, path: str = "/", *, host: int = 0, port: int = 80, **headers: str) -> tuple[int, str, dict[str, str]]:
        """One request through a host's web server: status, body, headers in lower case."""
        address = self.hosts[host].address
        request = urllib.request.Request(f"http://{address}:{port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode(), {k.lower(): v for k, v in answer.headers.items()}
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode(), {k.lower(): v for k, v in error.headers.items()}

    def versions(self, *, port: int = 80) -> list[str]:
        """What each host answers at `/`."""
        return [self.ask("/", host=n, port=port)[1].strip() for n in range(len(self.hosts))]

    def assert_live(self, version: str) -> None:
        """Every host answers with that version, and `status` agrees that all have the same release."""
        assert self.versions() == [f"version {version}"] * len(self.hosts)
        assert self.status()["release"] is not None

    @contextmanager
    def load(
        self,
        *,
        connections: int = 8,
        method: str = "GET",
        path: str = "/",
        name: str | None = None,
        pause: float = 0.05,
    ) -> Iterator[dict[str, Any]]:
        """Requests while the block runs, each connection's `pause` seconds apart; the dict is filled when it ends.

        With a `name`, over https and for it.
        """
        urls = [f"http{'s' if name else ''}://{host.address}{path}" for host in self.hosts]
        more = ["--host", name] if name else []
        process = subprocess.Popen(
            [sys.executable, str(LOAD), "--connections", str(connections), "--method", method, "--pause", str(pause), *more, *urls],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        told: dict[str, Any] = {}
        try:
            time.sleep(0.5)
            yield told
            time.sleep(0.5)
        finally:
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=60)
            told.update(json.loads(out or "{}"))

    def add_hosts(self) -> None:
        """`host add` for each of the lab's, with its fingerprint."""
        for host in self.hosts:
            self.run(
                "host", "add", host.name, f"{host.user}@{host.address}", "--identity", str(host.identity),
                "--fingerprint", fingerprint(host.host_key),
            )  # fmt: skip


def fingerprint(host_key: str) -> str:
    """A host key's SHA256 fingerprint, as ssh shows it."""
    digest = hashlib.sha256(base64.b64decode(host_key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def no_request_failed(told: dict[str, Any]) -> None:
    """Assert that the load generator met no failure, and was not idle."""
    assert told["failed"] == 0, told["failures"]
    assert told["requests"] > 50, told
