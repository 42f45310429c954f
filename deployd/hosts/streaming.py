"""Verbs that go on: the app's lock while it is held, log lines as they come, a command while it runs."""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING, Self

from deployd.hosts import refusals, replies, verbs
from deployd.hosts.asking import LONG, QUICK, Asking
from deployd.hosts.transport import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
    from deployd.hosts.transport import Stream


class Streaming(Asking):
    """A host with a verb that goes on for as long as its stream is open."""

    def hold(self, app: AppName, environment: EnvironmentName, *, owner: str, rollout: str, wait: float = 0) -> Lease:
        """Take the app's lock on this host; it is free when the lease is closed, or this process ends.

        Raises HostLockedError when another holds it for longer than `wait` seconds.
        """
        argv = verbs.hold(app, environment, wait=wait)
        stream = self.transport.open(argv)
        try:
            stream.write(json.dumps({"owner": owner, "rollout": rollout}).encode() + b"\n")
            line = next(iter(stream.lines(timeout=QUICK + wait)), b"")
            data = self._reply(argv, stream.exit, line, b"")
            return Lease(stream, host=self.name, epoch=int(data["epoch"]), current=data.get("current"))
        except BaseException:
            stream.close()
            raise

    def logs(
        self,
        app: AppName,
        environment: EnvironmentName,
        *,
        release: ReleaseId | None = None,
        lines: int | None = 100,
        since: str | None = None,
        follow: bool = False,
        cancel: threading.Event | None = None,
    ) -> Iterator[replies.LogLine]:
        """What the app's instances wrote, oldest first. Closing the iterator ends the far side."""
        argv = verbs.logs(app, environment, release=release, lines=lines, since=since, follow=follow)
        stream = self.transport.open(argv)
        try:
            if not follow:
                stream.end_input()
            for line in stream.lines(cancel=cancel, timeout=None if follow else LONG):
                data = self._parsed(argv, stream.exit, line, b"")
                if data.get("ok") is False:
                    raise refusals.refusal(data, host=self.name)
                if "message" in data:
                    yield replies.LogLine.from_json(data, host=self.name)
            if stream.exit == UNKNOWN:
                raise self._lost(argv)
        finally:
            stream.close()

    def exec(
        self,
        app: AppName,
        environment: EnvironmentName,
        argv: Sequence[str],
        *,
        stdin: BinaryIO | None,
        stdout: BinaryIO,
        stderr: BinaryIO,
        cancel: threading.Event | None = None,
        release: ReleaseId | None = None,
        limit: float | None = None,
    ) -> int:
        """Run a command in the environment of the current release (or of `release`), as the app's user.

        Returns its exit code. With `limit` (seconds) the host ends it then, and when nobody reads any more. Raises
        HostError when the host refuses to run it.
        """
        stream = self.transport.open(verbs.execute(app, environment, argv, release=release, limit=limit))
        try:
            if stdin is None:
                stream.end_input()
            else:
                threading.Thread(target=_feed, args=(stdin, stream), daemon=True, name=f"exec-{self.name}").start()
            output = refusals.Output(stdout)  # a refusal comes in place of the command's output
            for name, data in stream.chunks(cancel=cancel):
                if name == "stdout":
                    output.write(data)
                else:
                    stderr.write(data)
                    stderr.flush()
            if stream.exit == UNKNOWN:
                raise self._lost(("exec", app, environment))
            refused = output.end(stream.exit)
            if refused:
                raise refusals.refusal(refused, host=self.name)
            return stream.exit
        finally:
            stream.close()


class Lease:
    """An app's lock on one host, held while this is open. `epoch` goes with every flip."""

    def __init__(self, stream: Stream, *, host: HostName, epoch: int, current: str | None) -> None:
        self.host = host
        self.epoch = epoch
        self.current = replies.release_or_none(current)
        self.since = time.time()
        self._stream = stream

    @property
    def lost(self) -> bool:
        """Whether the connection is gone, and with it the lock."""
        return not self._stream.alive

    def close(self) -> None:
        """Free the lock; safe to repeat."""
        self._stream.end_input()
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _feed(source: BinaryIO, stream: Stream) -> None:
    read = getattr(source, "read1", source.read)
    while data := read(65536):
        stream.write(data)
    stream.end_input()
