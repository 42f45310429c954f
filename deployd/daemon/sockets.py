"""The daemon's sockets: a path or an address comes in, a listening socket goes out; the kernel's word on who calls too.

A unix socket's path may have 107 bytes; a longer one is reached through its folder's descriptor.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
import struct
from typing import TYPE_CHECKING, Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from deployd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import FastAPI

_LONGEST = 107
_BACKLOG = 1024
_PEER = struct.Struct("3i")
HEAD_WITHIN = 30.0
"""Seconds in which a request's head must be there."""
_LEAVE = 2  # seconds that open streams get at the end


class PeerProtocol(H11Protocol):
    """HTTP/1.1 that notes who is at the other end of a unix socket, and closes on who never says what he wants."""

    _late: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """More of a request; its head must be whole within a while."""
        super().data_received(data)
        cycle: Any = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            self._in_time()
        elif self._late is None:
            self._late = self.loop.call_later(HEAD_WITHIN, self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._in_time()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        self._late = None
        if not self.transport.is_closing():
            self.transport.close()

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Ask the kernel."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_WITHIN, self._give_up)
        found = transport.get_extra_info("socket")
        if found is not None and found.family == socket.AF_UNIX:
            raw = found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
            self.app_state = {**self.app_state, "peer": _PEER.unpack(raw)}


class Server(uvicorn.Server):
    """uvicorn without its signals and its ten looks a second: `end` ends it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._over = asyncio.Event()

    def end(self) -> None:
        """Stop serving."""
        self._over.set()

    async def main_loop(self) -> None:
        """Wait for the end."""
        await self.on_tick(0)
        await self._over.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are main.py's."""
        yield


def server(app: FastAPI, *, tls: tuple[Path, Path] | None = None) -> Server:
    """A server of the API, for sockets that listen already."""
    return Server(
        uvicorn.Config(
            app,
            http=PeerProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            date_header=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_LEAVE,
            h11_max_incomplete_event_size=64 * 1024,
            ssl_certfile=str(tls[0]) if tls else None,
            ssl_keyfile=str(tls[1]) if tls else None,
            ssl_version=ssl.PROTOCOL_TLS_SERVER,
        )
    )


def listen_unix(path: Path, *, group: int | None = None) -> socket.socket:
    """A unix socket at `path`; what an earlier daemon left there is removed (the caller holds the folder)."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with _reachable(path) as address:
        found.bind(address)
    if group is not None:
        os.chown(path, -1, group)
    path.chmod(0o600 if group is None else 0o660)
    found.listen(_BACKLOG)
    return found


def listen_tcp(address: str) -> socket.socket:
    """`127.0.0.1:8300`, `[::1]:8300`, `:8300`; raises ConfigError."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "0.0.0.0"  # noqa: S104 - the person wrote no host: every address
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(where)
        found.listen(_BACKLOG)
    except (OSError, ValueError, OverflowError) as error:
        raise ConfigError(
            f"deployd cannot listen on {address}: {error}",
            code="listen-failed",
            fix="set `listen` to an address and a port that are free, such as 127.0.0.1:8300",
        ) from error
    return found


def is_loopback(found: socket.socket) -> bool:
    """Whether only this machine itself can reach a socket."""
    return ipaddress.ip_address(found.getsockname()[0].partition("%")[0]).is_loopback


def port_of(found: socket.socket) -> Any:
    """The port that a socket has (0 asks for any)."""
    return found.getsockname()[1]


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    if len(os.fsencode(path)) <= _LONGEST:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
