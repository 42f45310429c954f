"""Transports and streams that run without a host."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from deployd.domain.ids import HostName
from deployd.hosts.transport import UNKNOWN, LineBuffer, Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from deployd.hosts.transport import Chunk

WEB1, WEB2 = HostName.parse("web1"), HostName.parse("web2")


class FakeStream:
    """A stream that answers what was put in; `answer` maps what is written to lines, None meaning the end."""

    def __init__(self, out: Sequence[bytes] = (), *, answer: Callable[[bytes], bytes | None] | None = None) -> None:
        self.out = list(out)
        self.answer = answer
        self.written = b""
        self.closed = False
        self.dead = False
        self.exit_code = UNKNOWN
        self._lines = LineBuffer()

    @property
    def alive(self) -> bool:
        return not (self.closed or self.dead)

    @property
    def exit(self) -> int:
        return self.exit_code

    def chunks(self, *, timeout: float | None = None, cancel: Any = None) -> Iterator[Chunk]:
        while self.out:
            yield "stdout", self.out.pop(0)

    def lines(self, *, timeout: float | None = None, cancel: Any = None) -> Iterator[bytes]:
        for _, data in self.chunks():
            yield from self._lines.feed(data)

    def write(self, data: bytes) -> None:
        self.written += data
        if self.answer:
            reply = self.answer(data)
            if reply is None:
                self.dead = True
            else:
                self.out.append(reply)

    def end_input(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class FakeTransport:
    """Answers each verb by a function of argv and document; exceptions are raised."""

    def __init__(self, answers: Callable[[Sequence[str], Any], Any] | None = None, *, name: HostName = WEB1) -> None:
        self._name = name
        self.answers = answers or (lambda _argv, _document: {})
        self.calls: list[tuple[str, ...]] = []
        self.streams: list[FakeStream] = []
        self.connects = 0
        self.connect_error: BaseException | None = None

    @property
    def name(self) -> HostName:
        return self._name

    @property
    def address(self) -> str:
        return "192.0.2.1"

    def connect(self) -> None:
        self.connects += 1
        if self.connect_error:
            raise self.connect_error

    def call(
        self, argv: Sequence[str], *, stdin: bytes | None = None, timeout: float = 60, cancel: Any = None
    ) -> Reply:
        self.calls.append(tuple(argv))
        answer = self.answers(argv, json.loads(stdin) if stdin else None)
        if isinstance(answer, BaseException):
            raise answer
        if isinstance(answer, Reply):
            return answer
        return Reply(0, json.dumps({"ok": True} | answer).encode(), b"")

    def open(self, argv: Sequence[str]) -> FakeStream:
        self.calls.append(tuple(argv))
        return self.streams.pop(0)

    def close(self) -> None:
        pass
