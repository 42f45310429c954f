"""The real web server on a fake host's configuration: a host comes in, answers to raw HTTP requests go out."""

from __future__ import annotations

import http.client
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.hosts import webserver

if TYPE_CHECKING:
    from pathlib import Path

    from tests.contract.fakehost import FakeHost


@dataclass(frozen=True)
class Answer:
    """One answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class RealWeb:
    """Caddy, as the unit starts it, on the files that the helper wrote. `port` is the app's."""

    def __init__(self, host: FakeHost) -> None:
        self.host = host
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Path:
        return self.host.root / "etc/deployd/web/Caddyfile"

    def start(self) -> None:
        """Start it; the app must be configured."""
        run = self.host.root / "run/deployd-web"
        run.mkdir(parents=True, exist_ok=True)
        # Port 80 is systemd's socket on a host; nobody has one here.
        (self.config.parent / "sites/default.caddy").unlink(missing_ok=True)
        with (self.host.root / "caddy.log").open("wb") as log:
            self.process = subprocess.Popen(
                [str(webserver.fetch("x64").path), "run", "--adapter", "caddyfile", "--config", str(self.config)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"HOME": str(run), "PATH": "/usr/bin:/bin"},
            )  # fmt: skip
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            with socket.socket() as asked:
                if asked.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError((self.host.root / "caddy.log").read_text())

    def close(self) -> None:
        """End it."""
        if self.process:
            self.process.kill()
            self.process.wait()

    def ask(self, path: str = "/", method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """One request, its path sent as it is; `accept_encoding=...` becomes Accept-Encoding."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_accept_encoding=True, skip_host="Host" in headers)
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            if body is not None:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()


def free_port() -> int:
    """A port of the loopback that nobody has now."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])
