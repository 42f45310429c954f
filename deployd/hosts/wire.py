"""rsync's door: objects on this machine go in, files in a host's incoming folder come out.

rsync runs under OpenSSH's client, because bulk data is its trade (paramiko's cipher work is Python's). One master
connection a host is opened ahead, in the background: its 0.3 s pass while the helper compares manifests. Only the
pinned host key and deployd's own key are used, and no configuration of the person's.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import selectors
import shlex
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from deployd import process
from deployd.errors import CancelledError, CommandError, HostError, UnreachableError
from deployd.hosts import causes, keys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from typing import IO

    from deployd.domain.host import Host
    from deployd.domain.ids import HostName
    from deployd.hosts.local import Local

PARTIAL = ".deployd-partial"
_IDLE_TIMEOUT = 60
_PROGRESS = re.compile(rb"^\s*([\d,]+)\s+\d+%")
_SENT = re.compile(rb"^Total bytes sent: ([\d,.]+)", re.MULTILINE)
# rsync's exit codes: the wire broke; the far disk or files failed; rsync is not there.
_WIRE_CODES = frozenset({10, 12, 30, 35, 255})
_NO_SPACE = b"No space left on device"
_MISSING_CODES = frozenset({126, 127})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A transfer that ended well: bytes over the wire, and how long it took."""

    bytes: int
    seconds: float


class Wire(Protocol):
    """Puts files into a host's incoming folders."""

    def warm(self) -> None:
        """Begin to connect, in the background; nothing when that was done."""

    def send(
        self,
        names: Sequence[str],
        *,
        base: Path,
        to: str,
        on_bytes: Callable[[int], None],
        cancel: threading.Event | None = None,
    ) -> Sent:
        """Send files, named relative to `base`, into the folder `to`, flat. A broken transfer goes on when repeated."""

    def close(self) -> None:
        """Close the connection; safe to repeat."""


def ssh_argv(host: Host, *, user: str, key: Path, known_hosts: Path, connect_timeout: float) -> tuple[str, ...]:
    """OpenSSH's client with all that it may use, and nothing of the person's own configuration."""
    options = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "/dev/null",
        "HostKeyAlgorithms": ",".join(keys.algorithms(host.host_key)),
        "UpdateHostKeys": "no",
        "ForwardAgent": "no",
        "ClearAllForwardings": "yes",
        "ConnectTimeout": str(max(1, round(connect_timeout))),
        "ServerAliveInterval": "4",
        "ServerAliveCountMax": "3",
        "LogLevel": "ERROR",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ("ssh", "-F", "none", "-T", "-i", str(key), *words, "-p", str(host.port), "-l", user)


def rsync_argv(*, base: Path | str, to: str, remote_shell: Sequence[str] | None) -> tuple[str, ...]:
    """The rsync call that the host's matcher takes (`rsync_arguments` in the helper); the names come on stdin."""
    return (
        "rsync",
        "--times",
        "--compress",
        "--files-from=-",
        "--from0",
        "--no-relative",
        f"--partial-dir={PARTIAL}",
        "--chmod=F600",
        f"--timeout={_IDLE_TIMEOUT}",
        "--stats",
        "--info=progress2",
        "--no-human-readable",
        "--outbuf=N",
        *(("-e", shlex.join(remote_shell)) if remote_shell else ()),
        f"{base}/",
        to,
    )


class SshWire:
    """rsync over OpenSSH to one host. `folder` is its own, private, and short: a socket's path has 108 bytes."""

    def __init__(self, host: Host, *, key: Path, folder: Path, connect_timeout: float, user: str = "deployd") -> None:
        self._host = host
        self._user = user
        self._control = folder / "c"
        self._known_hosts = folder / "k"
        self._ssh = ssh_argv(host, user=user, key=key, known_hosts=self._known_hosts, connect_timeout=connect_timeout)
        self._wait = connect_timeout
        self._lock = threading.Lock()
        self._keeper: threading.Thread | None = None
        self._end_master: Callable[[], None] | None = None
        self._closed = False
        keys.write_known_hosts([host], self._known_hosts)

    def warm(self) -> None:
        """Start the master connection, if it does not run."""
        with self._lock:
            if self._closed or (self._keeper and self._keeper.is_alive()):
                return
            # A thread of its own, because PR_SET_PDEATHSIG ends a program with the *thread* that started it.
            self._keeper = threading.Thread(target=self._keep, daemon=True, name=f"wire-{self._host.name}")
            self._keeper.start()

    def _keep(self) -> None:
        argv = (*self._ssh, "-M", "-N", "-S", str(self._control), self._host.address)
        with contextlib.suppress(CommandError):  # then rsync's own ssh says what is wrong
            master = process.spawn(argv)
            with self._lock:
                self._end_master = functools.partial(process.end, master, grace=1)
                closed = self._closed
            if closed:
                process.end(master, grace=1)
            for stream in (master.stderr, master.stdout):
                if stream:
                    stream.read()  # what it says, the session that needs it says too
                    stream.close()
            master.wait()

    def _await_master(self, cancel: threading.Event | None) -> None:
        """Wait until the master takes sessions, or has failed; without one, rsync's ssh connects itself."""
        self.warm()
        deadline = time.monotonic() + self._wait
        while time.monotonic() < deadline and self._keeper and self._keeper.is_alive():
            if self._control.exists() or (cancel and cancel.is_set()):
                return
            time.sleep(0.005)

    def send(
        self,
        names: Sequence[str],
        *,
        base: Path,
        to: str,
        on_bytes: Callable[[int], None],
        cancel: threading.Event | None = None,
    ) -> Sent:
        """Send files. Raises UnreachableError `connection-lost` when the wire broke, else HostError."""
        self._await_master(cancel)
        address = f"[{self._host.address}]" if ":" in self._host.address else self._host.address
        argv = rsync_argv(
            base=base,
            to=f"{address}:{to}",
            remote_shell=(*self._ssh, "-S", str(self._control), "-o", "ControlMaster=no"),
        )
        return _run(argv, names, name=self._host.name, address=self._host.address, on_bytes=on_bytes, cancel=cancel)

    def close(self) -> None:
        """End the master connection."""
        with self._lock:
            self._closed = True
            end, self._end_master = self._end_master, None
        if end:
            end()
        if self._keeper:
            self._keeper.join(timeout=2)


class LocalWire:
    """rsync into a `Local` host's folder."""

    def __init__(self, local: Local) -> None:
        self._local = local

    def warm(self) -> None:
        """There is nothing to connect to."""

    def close(self) -> None:
        """There is nothing to close."""

    def send(
        self,
        names: Sequence[str],
        *,
        base: Path,
        to: str,
        on_bytes: Callable[[int], None],
        cancel: threading.Event | None = None,
    ) -> Sent:
        """Copy files."""
        target = to if to.startswith(str(self._local.root)) else f"{self._local.root}{to}"
        argv = rsync_argv(base=base, to=target, remote_shell=None)
        return _run(argv, names, name=self._local.name, address=self._local.address, on_bytes=on_bytes, cancel=cancel)


def _run(
    argv: Sequence[str],
    names: Sequence[str],
    *,
    name: HostName,
    address: str,
    on_bytes: Callable[[int], None],
    cancel: threading.Event | None,
) -> Sent:
    started = time.monotonic()
    far, near = os.pipe()
    try:
        running = process.spawn(argv, stdin=far)
    except CommandError as error:
        os.close(near)
        raise HostError(
            f"nothing could be sent to {name}: this machine has no rsync",
            code="rsync-missing",
            host=name,
            live="unchanged",
            fix="install rsync on the machine that runs deployd: `apt install rsync`",
        ) from error
    finally:
        os.close(far)
    try:
        feeder = threading.Thread(
            target=_feed, args=(near, b"".join(one.encode() + b"\0" for one in names)), daemon=True
        )
        feeder.start()
        out, errors = _follow((running.stdout, running.stderr), name=name, on_bytes=on_bytes, cancel=cancel)
        code = running.wait()
    finally:
        process.end(running)
        for stream in (running.stdout, running.stderr):
            if stream:
                stream.close()
    if code != 0:
        raise failure(code, errors, name=name, address=address)
    sent = _SENT.search(out)
    return Sent(
        bytes=int(re.sub(rb"[,.]", b"", sent[1])) if sent else 0,
        seconds=time.monotonic() - started,
    )


def _feed(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(OSError), os.fdopen(descriptor, "wb") as pipe:
        pipe.write(data)


def _follow(
    streams: tuple[IO[bytes] | None, IO[bytes] | None],
    *,
    name: HostName,
    on_bytes: Callable[[int], None],
    cancel: threading.Event | None,
) -> tuple[bytes, bytes]:
    """Read both streams to their end; progress lines end in a carriage return."""
    kept = {"stdout": b"", "stderr": b""}
    with selectors.DefaultSelector() as selector:
        for stream, label in zip(streams, ("stdout", "stderr"), strict=True):
            if stream:
                selector.register(stream, selectors.EVENT_READ, label)
        while selector.get_map():
            if cancel and cancel.is_set():
                raise CancelledError(
                    f"sending to {name} was cancelled", host=name, live="unchanged", fix="release again when ready"
                )
            for key, _ in selector.select(timeout=0.1):
                data = os.read(key.fd, 65536)
                if not data:
                    selector.unregister(key.fileobj)
                    continue
                kept[key.data] = (kept[key.data] + data)[-65536:]
                if key.data == "stdout":
                    for piece in re.split(rb"[\r\n]", data):
                        if found := _PROGRESS.match(piece):
                            on_bytes(int(found[1].replace(b",", b"")))
    return kept["stdout"], kept["stderr"]


def failure(code: int, errors: bytes, *, name: HostName, address: str) -> HostError:
    """What rsync's exit code and last words mean."""
    said = errors.decode(errors="replace").strip()[-2000:] or None
    if _NO_SPACE in errors:
        return HostError(
            f"the disk of {name} is full: the release did not fit",
            code="disk-full",
            host=name,
            live="unchanged",
            details=said,
            fix=f"free space on {name} (`deployd prune`, or a larger disk), then release again: what arrived is kept",
            retryable=True,
        )
    if code in _MISSING_CODES or b"rsync: command not found" in errors or b'"rsync-missing"' in errors:
        return HostError(
            f"{name} has no rsync",
            code="rsync-missing",
            host=name,
            live="unchanged",
            details=said,
            fix=f"run `deployd host bootstrap {name}`: it installs rsync",
        )
    if code in _WIRE_CODES or code < 0:
        error: UnreachableError = causes.lost(name, address=address, doing="rsync", live=None)
        return error.but(details=said, live="unchanged")
    return HostError(
        f"sending to {name} failed: rsync exited with {code}",
        code="transfer-failed",
        host=name,
        live="unchanged",
        details=said,
        fix=f"read rsync's words above; `deployd host check {name}` looks for known causes",
    )
