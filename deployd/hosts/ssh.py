"""The wire to a real host: a `Host` with its pinned key comes in, helper calls over one SSH connection go out.

One connection a host, kept open, several channels in it. paramiko's own client is used, for what was measured: its
socket lacks TCP_NODELAY (a call takes 44 ms without, 4 ms with it), and a wire that is cut is noticed only by
TCP_USER_TIMEOUT. fabric wraps the same client, accepts unknown keys unless told otherwise, and costs 85 ms of import,
so it serves where a person's shell is wanted (admin.py), not here.
"""

from __future__ import annotations

import base64
import contextlib
import importlib
import logging
import shlex
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

from deployd.errors import CancelledError
from deployd.hosts import causes, keys
from deployd.hosts.serve import ARGV as SERVE
from deployd.hosts.serve import Services, can_serve
from deployd.hosts.transport import UNKNOWN, LineBuffer, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path
    from types import ModuleType

    import paramiko

    from deployd.domain.host import Host
    from deployd.domain.ids import HostName
    from deployd.hosts.transport import Chunk, Stream

# sshd refuses the 11th session of a connection (MaxSessions 10): some are left for a person who debugs.
_CHANNELS = 8
_SERVED = 4  # three for verbs and one for an app's lock
_TICK = 0.1
_IMPORTING = threading.Lock()
_USER_TIMEOUT_MS = 10_000
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 3), (socket.TCP_KEEPCNT, 3))


def _paramiko() -> ModuleType:
    """paramiko, without invoke: it imports that only for `Match exec` lines of ssh_config, which are never read here.

    0.16 of paramiko's 0.39 s were invoke's, in every command that asks a host.
    """
    with _IMPORTING:
        hidden = "paramiko" not in sys.modules and "invoke" not in sys.modules
        if hidden:
            sys.modules["invoke"] = None  # type: ignore[assignment] # what an import statement takes for "not there"
        try:
            return importlib.import_module("paramiko")
        finally:
            if hidden:
                del sys.modules["invoke"]


class Ssh:
    """A transport to one host as the user `deployd`, by the pinned host key and deployd's own key only."""

    def __init__(self, host: Host, *, key: Path, user: str = "deployd", connect_timeout: float = 10.0) -> None:
        self.host = host
        self._user = user
        self._key = key
        self._timeout = connect_timeout
        self._client: paramiko.SSHClient | None = None
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(_CHANNELS)
        self._running = 0  # streams that are not closed
        self._counting = threading.Lock()
        self._is_warm = False
        self._services = Services(lambda: self._opened(SERVE), most=_SERVED)

    @property
    def name(self) -> HostName:
        """The host's name."""
        return self.host.name

    @property
    def address(self) -> str:
        """The host's address."""
        return self.host.address

    @property
    def alive(self) -> bool:
        """Whether there is a connection that has not been seen to end."""
        transport = self._client.get_transport() if self._client else None
        return bool(transport and transport.is_active())

    def connect(self) -> None:
        """Be connected. Raises UnreachableError (also `ssh-auth-failed`) or HostKeyError."""
        with self._lock:
            if not self.alive:
                self._drop()
                self._client = self._connected()
            warm, self._is_warm = self._is_warm, True
        if not warm:
            self._services.warm()  # the helper starts while we go on

    def park(self) -> bool:
        """Whether the connection can be used again: it lives, and nothing runs on it but what waits for verbs."""
        waiting = self._services.park()
        with self._lock:
            self._is_warm = waiting > 0
            return self.alive and self._running == waiting

    def call(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout: float = 60,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Run one verb to its end; exit `UNKNOWN` when the connection broke on the way."""
        if can_serve(argv, stdin):
            served = self._services.call(argv, stdin=stdin, timeout=timeout, cancel=cancel)
            if served:
                return served
        deadline = time.monotonic() + timeout
        stream = self._opened(argv)
        out, err = bytearray(), bytearray()
        try:
            if stdin is not None:
                stream.write(stdin, timeout=timeout)
            stream.end_input()
            for name, data in stream.chunks(timeout=max(deadline - time.monotonic(), _TICK), cancel=cancel):
                (out if name == "stdout" else err).extend(data)
        finally:
            stream.close()
        return Reply(stream.exit, bytes(out), bytes(err))

    def open(self, argv: Sequence[str]) -> Stream:
        """Start a verb. A connection that died while it was idle is made anew: nothing was sent on it."""
        if argv[0] == "hold":
            self.connect()
            held = self._services.hold(argv, lambda: self._opened(argv))
            if held:
                return held
        return self._opened(argv)

    def _opened(self, argv: Sequence[str]) -> SshStream:
        import paramiko

        doing = _doing(argv)
        if not self._slots.acquire(timeout=self._timeout * 6):
            raise causes.timed_out(self.name, doing=doing, seconds=self._timeout * 6)
        try:
            channel = self._session(again=True)
            command = shlex.join(["deployd-host", *argv])  # the one place where an argv becomes a string
            try:
                channel.exec_command(command.encode(errors="surrogateescape"))
            except (paramiko.SSHException, OSError, EOFError) as error:
                channel.close()
                if self.alive:
                    raise causes.refused_key(self.host, user=self._user) from error
                raise causes.lost(self.name, address=self.address, doing=doing, live=None) from error
        except BaseException:
            self._slots.release()
            raise
        with self._counting:
            self._running += 1
        return SshStream(self, channel, doing=doing, release=self._ended)

    def _ended(self) -> None:
        with self._counting:
            self._running -= 1
        self._slots.release()

    def close(self) -> None:
        """Close the connection; safe to repeat."""
        with self._lock:
            self._drop()

    def _session(self, *, again: bool) -> paramiko.Channel:
        import paramiko

        self.connect()
        started, client = time.monotonic(), self._client
        transport = client.get_transport() if client else None
        try:
            if transport:
                return transport.open_session(timeout=self._timeout)
            problem: Exception = EOFError()
        except (paramiko.SSHException, OSError, EOFError) as error:
            problem = error
        self.close()
        if again:  # nothing was sent yet: an idle connection may have died unseen
            return self._session(again=False)
        raise causes.unreachable(self.host, problem, seconds=time.monotonic() - started) from problem

    def _drop(self) -> None:
        self._services.close()
        self._is_warm = False
        if self._client:
            self._client.close()
            self._client = None

    def _connected(self) -> paramiko.SSHClient:
        _paramiko()
        import paramiko

        # It logs what is raised anyway, and Python prints a warning that no handler takes.
        logging.getLogger("paramiko").setLevel(logging.CRITICAL)
        host, started = self.host, time.monotonic()
        identity = self._identity()
        sock: socket.socket | None = None
        client = paramiko.SSHClient()
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        kind, data = host.host_key.split()[:2]
        client.get_host_keys().add(
            keys.known_hosts_name(host.address, host.port),
            kind,
            paramiko.PKey.from_type_string(kind, base64.b64decode(data)),
        )
        try:
            sock = _socket(host, timeout=self._timeout)
            client.connect(
                host.address,
                host.port,
                self._user,
                pkey=identity,
                sock=sock,
                timeout=self._timeout,
                banner_timeout=self._timeout,
                auth_timeout=self._timeout,
                channel_timeout=self._timeout,
                allow_agent=False,
                look_for_keys=False,
            )
        except BaseException as error:
            client.close()
            if sock:
                sock.close()
            if isinstance(error, paramiko.BadHostKeyException):
                raise causes.changed_key(
                    host,
                    pinned=keys.fingerprint(host.host_key),
                    shown=keys.fingerprint(f"{error.key.get_name()} {error.key.get_base64()}"),
                ) from error
            if isinstance(error, paramiko.AuthenticationException):
                raise causes.refused_key(host, user=self._user) from error
            if isinstance(error, OSError | EOFError | paramiko.SSHException):
                raise causes.unreachable(host, error, seconds=time.monotonic() - started) from error
            raise
        return client

    def _identity(self) -> paramiko.PKey:
        import paramiko

        try:
            return paramiko.Ed25519Key.from_private_key_file(str(self._key))
        except (OSError, paramiko.SSHException) as error:
            raise causes.no_key(self.host, path=str(self._key)) from error


class SshStream:
    """One channel. `exit` is known once `chunks` has ended."""

    def __init__(self, ssh: Ssh, channel: paramiko.Channel, *, doing: str, release: Callable[[], None]) -> None:
        self._ssh = ssh
        self._channel = channel
        self._doing = doing
        self._release: Callable[[], None] | None = release
        self._lines = LineBuffer()
        self._lock = threading.Lock()

    @property
    def alive(self) -> bool:
        """Whether the far side still runs, as far as can be seen from here."""
        return self._ssh.alive and not self._channel.closed and not self._channel.exit_status_ready()

    @property
    def exit(self) -> int:
        """The exit code; `UNKNOWN` before its end, and when the wire broke."""
        return self._channel.exit_status if self._channel.exit_status_ready() else UNKNOWN

    def chunks(self, *, timeout: float | None = None, cancel: threading.Event | None = None) -> Iterator[Chunk]:
        """What it writes, as it comes, until it has ended."""
        deadline = None if timeout is None else time.monotonic() + timeout
        channel = self._channel
        channel.settimeout(_TICK)
        data: bytes | None = None
        while data != b"":
            data = None
            with contextlib.suppress(TimeoutError):
                data = channel.recv(65536)
            while channel.recv_stderr_ready():
                yield "stderr", channel.recv_stderr(65536)
            if data:
                yield "stdout", data
            self._check(deadline, timeout, cancel)
        # The end of a channel's output is that of both streams, so this does not wait.
        while errors := channel.recv_stderr(65536):
            yield "stderr", errors
        while not channel.status_event.wait(_TICK):
            self._check(deadline, timeout, cancel)

    def _check(self, deadline: float | None, timeout: float | None, cancel: threading.Event | None) -> None:
        if cancel and cancel.is_set():
            self.close()
            raise CancelledError(
                f"`{self._doing}` on {self._ssh.name} was cancelled", host=self._ssh.name, fix="run it again when ready"
            )
        if deadline is not None and time.monotonic() > deadline:
            self.close()
            raise causes.timed_out(self._ssh.name, doing=self._doing, seconds=timeout or 0)

    def lines(self, *, timeout: float | None = None, cancel: threading.Event | None = None) -> Iterator[bytes]:
        """Its stdout, line by line."""
        for name, data in self.chunks(timeout=timeout, cancel=cancel):
            if name == "stdout":
                yield from self._lines.feed(data)
        if self._lines.tail:
            yield self._lines.tail

    def write(self, data: bytes, *, timeout: float = 60) -> None:
        """Write to its stdin; what it no longer wants to read is dropped: its exit code says why."""
        deadline = time.monotonic() + timeout
        self._channel.settimeout(_TICK)
        rest = memoryview(data)
        with contextlib.suppress(OSError, EOFError):
            while rest:
                try:
                    rest = rest[self._channel.send(bytes(rest[:65536])) :]
                except TimeoutError:
                    self._check(deadline, timeout, None)

    def end_input(self) -> None:
        """Close its stdin."""
        with contextlib.suppress(OSError, EOFError):
            self._channel.shutdown_write()

    def close(self) -> None:
        """Close the channel; the far side's stdin ends with it."""
        with self._lock:
            release, self._release = self._release, None
        if release:
            with contextlib.suppress(OSError, EOFError):
                self._channel.close()
            release()


def _doing(argv: Sequence[str]) -> str:
    """The verb and its ids, for messages: no more than that, since what follows may be a person's command."""
    return " ".join(["deployd-host", *argv[:4]])


def _socket(host: Host, *, timeout: float) -> socket.socket:
    sock = socket.create_connection((host.address, host.port), timeout=timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _USER_TIMEOUT_MS)
    for option, value in _KEEPALIVE:
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
    return sock
