"""The helper run on this machine, with all its paths below one folder: a transport for contract tests.

The folder is the whole host. Replacements for systemctl and caddy are programs that the tests bring.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import sys
import time
from typing import TYPE_CHECKING

from deployd import process
from deployd.errors import CancelledError
from deployd.hosts import causes, helperfiles
from deployd.hosts.serve import ARGV as SERVE
from deployd.hosts.serve import Services, can_serve
from deployd.hosts.transport import UNKNOWN, LineBuffer, Reply

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from deployd.domain.ids import HostName
    from deployd.hosts.transport import Chunk, Stream


class Local:
    """A host that is a folder. Needs root, as the helper does. With `served`, verbs go over one open `serve`."""

    def __init__(
        self,
        name: HostName,
        *,
        root: Path,
        helper: Path | None = None,
        environment: Mapping[str, str] | None = None,
        served: bool = False,
    ) -> None:
        self._name = name
        self.root = root
        self._helper = helper or helperfiles.entry()
        self._environment = {"DEPLOYD_HOST_ROOT": str(root)} | dict(environment or {})
        self._services = Services(lambda: self._opened(SERVE), most=2) if served else None

    @property
    def name(self) -> HostName:
        """The host's name."""
        return self._name

    @property
    def address(self) -> str:
        """The folder."""
        return str(self.root)

    def connect(self) -> None:
        """There is nothing to connect to."""

    def close(self) -> None:
        """End what still serves."""
        if self._services:
            self._services.close()

    def call(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes | None = None,
        timeout: float = 60,
        cancel: threading.Event | None = None,
    ) -> Reply:
        """Run one verb to its end."""
        if self._services and can_serve(argv, stdin):
            reply = self._services.call(argv, stdin=stdin, timeout=timeout, cancel=cancel)
            if reply:
                return reply
        done = process.run(
            self._argv(argv), env=self._environment, stdin=stdin, timeout=timeout, check=False, cancel=cancel
        )
        return Reply(done.returncode, done.stdout, done.stderr)

    def open(self, argv: Sequence[str]) -> Stream:
        """Start a verb that goes on."""
        held = self._services.hold(argv, lambda: self._opened(argv)) if self._services and argv[0] == "hold" else None
        return held or self._opened(argv)

    def _opened(self, argv: Sequence[str]) -> LocalStream:
        return LocalStream(self._argv(argv), env=self._environment, name=self._name, doing=" ".join(argv[:4]))

    def _argv(self, argv: Sequence[str]) -> tuple[str, ...]:
        return (sys.executable, "-IS", str(self._helper), *argv)


class LocalStream:
    """One run of the helper."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], name: HostName, doing: str) -> None:
        far, near = os.pipe()
        try:
            # It ends with its stdin; PR_SET_PDEATHSIG would end it with the *thread* that started it.
            self._process = process.spawn(argv, env=env, stdin=far, dies_with_us=False)
        except BaseException:
            os.close(near)
            raise
        finally:
            os.close(far)
        self._stdin: int | None = near
        self._name = name
        self._doing = doing
        self._lines = LineBuffer()

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    @property
    def exit(self) -> int:
        """Its exit code, or `UNKNOWN` before its end."""
        code = self._process.poll()
        return UNKNOWN if code is None else code

    def chunks(self, *, timeout: float | None = None, cancel: threading.Event | None = None) -> Iterator[Chunk]:
        """What it writes, as it comes."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with selectors.DefaultSelector() as selector:
            for stream, name in ((self._process.stdout, "stdout"), (self._process.stderr, "stderr")):
                if stream and not stream.closed:
                    selector.register(stream, selectors.EVENT_READ, name)
            while selector.get_map():
                if cancel and cancel.is_set():
                    raise CancelledError(
                        f"`{self._doing}` on {self._name} was cancelled", host=self._name, fix="run it again when ready"
                    )
                if deadline is not None and time.monotonic() > deadline:
                    raise causes.timed_out(self._name, doing=self._doing, seconds=timeout or 0)
                for key, _ in selector.select(timeout=0.1):
                    data = os.read(key.fd, 65536)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.data == "stdout":
                        yield "stdout", data
                    else:
                        yield "stderr", data
        self._process.wait()

    def lines(self, *, timeout: float | None = None, cancel: threading.Event | None = None) -> Iterator[bytes]:
        """Its stdout, line by line."""
        for name, data in self.chunks(timeout=timeout, cancel=cancel):
            if name == "stdout":
                yield from self._lines.feed(data)
        if self._lines.tail:
            yield self._lines.tail

    def write(self, data: bytes) -> None:
        """Write to its stdin."""
        with contextlib.suppress(OSError):
            while data and self._stdin is not None:
                data = data[os.write(self._stdin, data) :]

    def end_input(self) -> None:
        """Close its stdin."""
        stdin, self._stdin = self._stdin, None
        if stdin is not None:
            os.close(stdin)

    def close(self) -> None:
        """End it."""
        self.end_input()
        process.ended(self._process, within=1)
        process.end(self._process)
        for stream in (self._process.stdout, self._process.stderr):
            if stream:
                stream.close()
