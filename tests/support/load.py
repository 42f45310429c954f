"""A load generator that forgives nothing: no retries, every answer read to its end, every failure kept.

Comes in: URLs of this machine's lab. Goes out: one JSON document with requests, failures, latencies in milliseconds and
the releases that answered (`X-Deployd-Release`). Runs until SIGTERM or SIGINT, or for `--seconds`.

    python tests/support/load.py --connections 8 --seconds 5 http://10.201.0.11/
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import json
import signal
import ssl
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LONGEST = 30.0
KEPT_FAILURES = 20


@dataclass
class Told:
    """What was seen."""

    requests: int = 0
    failed: int = 0
    failures: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    releases: Counter[str] = field(default_factory=Counter)
    started: float = field(default_factory=time.monotonic)

    def fail(self, what: str) -> None:
        self.failed += 1
        if len(self.failures) < KEPT_FAILURES:
            self.failures.append(f"{time.monotonic() - self.started:.3f}s {what}")

    def summary(self) -> dict[str, object]:
        times = sorted(self.milliseconds) or [0.0]
        seconds = time.monotonic() - self.started

        def at(share: float) -> float:
            return round(times[min(len(times) - 1, int(len(times) * share))], 2)

        return {
            "requests": self.requests,
            "failed": self.failed,
            "failures": self.failures,
            "seconds": round(seconds, 2),
            "per_second": round(self.requests / seconds, 1),
            "p50_ms": at(0.5),
            "p99_ms": at(0.99),
            "max_ms": round(times[-1], 2),
            "releases": dict(self.releases),
        }


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, request: bytes
) -> tuple[int, dict[str, str], bool]:
    """Send one request and read the whole answer: status, headers, and whether the connection stays."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split(" ", 2)[1])
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    if headers.get("transfer-encoding") == "chunked":
        while True:
            size = int((await reader.readline()).split(b";")[0], 16)
            await reader.readexactly(size + 2)
            if size == 0:
                break
    else:
        await reader.readexactly(int(headers.get("content-length", "0")))
    return status, headers, headers.get("connection", "").lower() != "close"


def trusting_anybody() -> ssl.SSLContext:
    """For a lab's own authority."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def client(url: str, *, told: Told, stop: asyncio.Event, method: str, host: str | None, pause: float) -> None:
    """One connection after another, one request after another, until `stop`."""
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    name, port = parts.hostname or "", parts.port or (443 if secure else 80)
    tls = {"ssl": trusting_anybody(), "server_hostname": host or name} if secure else {}
    body = b"x=1" if method == "POST" else b""
    lines = [
        f"{method} {parts.path or '/'}{'?' + parts.query if parts.query else ''} HTTP/1.1",
        f"Host: {host or parts.netloc}",
    ]
    if body:
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode() + body
    writer: asyncio.StreamWriter | None = None
    reader: asyncio.StreamReader | None = None
    while not stop.is_set():
        began = time.monotonic()
        told.requests += 1
        try:
            async with asyncio.timeout(LONGEST):
                if writer is None or reader is None:
                    reader, writer = await asyncio.open_connection(name, port, **tls)
                status, headers, stays = await ask(reader, writer, request=request)
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.IncompleteReadError) as error:
            told.fail(f"{url} {type(error).__name__}: {error}")
            stays = False
            await asyncio.sleep(0.02)
        else:
            told.milliseconds.append((time.monotonic() - began) * 1000)
            told.releases[headers.get("x-deployd-release", "none")] += 1
            if status >= 400:
                told.fail(f"{url} answered {status}")
        if pause:
            await asyncio.sleep(pause)
        if not stays and writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            reader = writer = None
    if writer is not None:
        writer.close()


async def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--method", choices=("GET", "POST"), default="GET")
    parser.add_argument("--host")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds between an answer and the next request")
    wish = parser.parse_args()
    for url in wish.urls:
        if not ipaddress.ip_address(urlsplit(url).hostname or "").is_private:
            parser.error(f"{url} is no address of this machine's lab")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    told = Told()
    clients = [
        asyncio.create_task(
            client(
                wish.urls[n % len(wish.urls)],
                told=told,
                stop=stop,
                method=wish.method,
                host=wish.host,
                pause=wish.pause,
            )
        )
        for n in range(wish.connections)
    ]
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), wish.seconds)
    stop.set()
    await asyncio.gather(*clients)
    json.dump(told.summary(), sys.stdout)
    print()
    return 1 if told.failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
