"""An authority for tests: pebble, with names that lead where a test says. Its challenges really travel to the hosts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.support.certificates import made_certificate
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

UNUSED = 9  # a port where no host listens


@dataclass
class Authority:
    """Pebble, started by `start`. `http` and `tls` are the ports of the hosts at which it asks."""

    folder: Path
    address: str
    http: int = 80
    tls: int = 443
    seconds: int = 86_400
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> Authority:
        """Start it; the names that lead nowhere have no address."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.dns, self.management, self.port, self.roots = (free_port() for _ in range(4))
        chain, key = made_certificate(self.address)
        (self.folder / "root.pem").write_text(chain)
        (self.folder / "key.pem").write_text(key)
        config = {"pebble": {
            "listenAddress": f"{self.address}:{self.port}", "managementListenAddress": f"{self.address}:{self.roots}",
            "certificate": str(self.folder / "root.pem"), "privateKey": str(self.folder / "key.pem"),
            "httpPort": self.http, "tlsPort": self.tls, "ocspResponderURL": "",
            "certificateValidityPeriod": self.seconds, "retryAfter": {"authz": 1, "order": 1},
        }}  # fmt: skip
        (self.folder / "pebble.json").write_text(json.dumps(config))
        self.run(
            "pebble-challtestsrv", "-dns01", f"127.0.0.1:{self.dns}", "-management", f"127.0.0.1:{self.management}",
            "-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv4", "", "-defaultIPv6", "",
        )  # fmt: skip
        self.begin()
        until_open("127.0.0.1", self.management)
        return self

    def begin(self) -> None:
        """Start pebble itself, after `end` with none of what it knew."""
        self.pebble = self.run(
            "pebble", "-config", str(self.folder / "pebble.json"), "-dnsserver", f"127.0.0.1:{self.dns}"
        )
        until_open(self.address, self.port)

    def end(self) -> None:
        """The authority is down."""
        self.pebble.kill()
        self.pebble.wait()

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def run(self, *argv: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{argv[0]}.log").open("ab") as log:
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_AUTHZREUSE": "0"},
            )  # fmt: skip
        self.processes.append(process)
        return process

    @property
    def directory(self) -> str:
        return f"https://{self.address}:{self.port}/dir"

    @property
    def root(self) -> str:
        """The file with which the authority's own address is checked."""
        return str(self.folder / "root.pem")

    @property
    def log(self) -> str:
        return (self.folder / "pebble.log").read_text(errors="replace")

    def trusted(self) -> str:
        """A file with the certificate below which it issues."""
        context = __import__("ssl").create_default_context(cafile=self.root)
        with urllib.request.urlopen(f"https://{self.address}:{self.roots}/roots/0", context=context, timeout=10) as got:
            path = self.folder / "issuer.pem"
            path.write_bytes(got.read())
        return str(path)

    def lead(self, name: str, addresses: Sequence[str]) -> None:
        """The name has these addresses."""
        self.tell("add-a", host=name, addresses=list(addresses))

    def tell(self, what: str, **fields: Any) -> None:
        request = urllib.request.Request(f"http://127.0.0.1:{self.management}/{what}", json.dumps(fields).encode())
        urllib.request.urlopen(request, timeout=10).close()

    def dns_command(self) -> str:
        """What the setting `acme_dns` may be: it makes TXT records here."""
        path = self.folder / "dns"
        path.write_text(
            "#!/usr/bin/python3\nimport json, sys, urllib.request\n_, doing, name, value = sys.argv\n"
            'record = {"host": name + "."} | ({"value": value} if doing == "set" else {})\n'
            'what = "set-txt" if doing == "set" else "clear-txt"\n'
            f'url = "http://127.0.0.1:{self.management}/" + what\n'
            "urllib.request.urlopen(url, json.dumps(record).encode(), timeout=10).close()\n"
        )
        path.chmod(0o755)
        return str(path)


def until_open(address: str, port: int) -> None:
    """Wait until somebody listens."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        with socket.socket() as asked:
            if asked.connect_ex((address, port)) == 0:
                return
        time.sleep(0.02)
    raise AssertionError((address, port))
