"""The real web server on a fake host's configuration: a host comes in, answers to raw HTTP requests go out."""

from __future__ import annotations

import http.client
import socket
import ssl
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.hosts import webserver
from tests.support.ports import free_port

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


# What systemd does: our sockets become the descriptors 3, 4 and 5.
LAUNCH = """
import fcntl, os, sys
count = int(sys.argv[1])
aside = [fcntl.fcntl(int(word), fcntl.F_DUPFD, 100) for word in sys.argv[2:2 + count]]
for number, one in enumerate(aside):
    os.dup2(one, 3 + number, inheritable=True)
os.execv(sys.argv[2 + count], sys.argv[2 + count:])
"""


class RealWeb:
    """Caddy, as the unit starts it, on the files that the helper wrote. `port` is the app's.

    `plain`, `secure` stand for the ports 80 and 443 of a host; the latter is a port of UDP too.
    """

    def __init__(self, host: FakeHost) -> None:
        self.host = host
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.sockets = [listening(), *secure_pair()]

    @property
    def plain(self) -> int:
        return int(self.sockets[0].getsockname()[1])

    @property
    def secure(self) -> int:
        return int(self.sockets[1].getsockname()[1])

    @property
    def config(self) -> Path:
        return self.host.root / "etc/deployd/web/Caddyfile"

    def start(self) -> None:
        """Start it; the app must be configured."""
        run = self.host.root / "run/deployd-web"
        run.mkdir(parents=True, exist_ok=True)
        numbers = [str(one.fileno()) for one in self.sockets]
        program = [str(webserver.fetch("x64").path), "run", "--adapter", "caddyfile", "--config", str(self.config)]
        with (self.host.root / "caddy.log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-IS", "-c", LAUNCH, str(len(numbers)), *numbers, *program],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"HOME": str(run), "PATH": "/usr/bin:/bin"},
                pass_fds=[one.fileno() for one in self.sockets],
            )  # fmt: skip
        deadline = time.monotonic() + 60
        admin = str(run / "admin.sock")
        while time.monotonic() < deadline:
            with socket.socket(socket.AF_UNIX) as asked:
                if asked.connect_ex(admin) == 0 and self._serves():
                    return
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError((self.host.root / "caddy.log").read_text())

    def _serves(self) -> bool:
        """Whether the app's own port is open, where the configuration has one."""
        if f":{self.port} " not in "".join(path.read_text() for path in self.config.parent.glob("sites/*")):
            return True
        with socket.socket() as asked:
            return asked.connect_ex(("127.0.0.1", self.port)) == 0

    def close(self) -> None:
        """End it."""
        if self.process:
            self.process.kill()
            self.process.wait()
        for one in self.sockets:
            one.close()

    def reload(self) -> None:
        """Load the files anew, as the unit's ExecReload does."""
        program = str(webserver.fetch("x64").path)
        admin = f"unix/{self.host.root / 'run/deployd-web/admin.sock'}"
        subprocess.run(
            [program, "reload", "--adapter", "caddyfile", "--config", str(self.config), "--address", admin],
            check=True, capture_output=True, timeout=30,
        )  # fmt: skip

    def ask_at(self, url: str, method: str = "GET", **headers: str) -> Answer:
        """One request as a visitor of this address would send it; whatever certificate is shown is taken."""
        secure, _, rest = url.partition("://")
        name, _, path = rest.partition("/")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPConnection(name, timeout=20)
        raw = socket.create_connection(("127.0.0.1", self.secure if secure == "https" else self.plain), 20)
        try:
            connection.sock = context.wrap_socket(raw, server_hostname=name) if secure == "https" else raw
            connection.request(method, f"/{path}", headers={"Host": name, **headers})
            answer = connection.getresponse()
            return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()
            raw.close()

    def wait_for(self, name: str) -> None:
        """Wait until there is a certificate for a name: the host's own authority takes a moment to make it."""
        deadline = time.monotonic() + 60
        while True:
            try:
                self.ask_at(f"https://{name}/.deployd/health")
            except ssl.SSLError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def shown(self, name: str, *, trusting: str | None = None) -> dict[str, object]:
        """The certificate that is shown for a name; with `trusting` (a PEM file) it must be good."""
        context = ssl.create_default_context(cafile=trusting)
        with (
            socket.create_connection(("127.0.0.1", self.secure), 20) as raw,
            context.wrap_socket(raw, server_hostname=name) as secured,
        ):
            return dict(secured.getpeercert() or {})

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


def listening() -> socket.socket:
    """A socket that listens on a free port."""
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    made.listen(256)
    return made


def secure_pair() -> tuple[socket.socket, socket.socket]:
    """A TCP socket that listens, and a UDP one on the same port."""
    while True:
        stream, datagram = listening(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            datagram.bind(stream.getsockname())
        except OSError:
            stream.close()
            datagram.close()
            continue
        return stream, datagram
