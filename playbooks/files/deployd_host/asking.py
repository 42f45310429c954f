"""An address and a path come in, what a server answered goes out."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Answer:
    """What a server answered: status, the release that the web server names, and milliseconds to the first byte."""

    __slots__ = ("first_byte_ms", "ms", "release", "status")

    def __init__(self, head: bytes, first_byte_ms: float, ms: float) -> None:
        import re

        found = re.match(rb"HTTP/1\.[01] ([0-9]{3})", head)
        if not found:
            raise OSError(0, "the answer is not HTTP")
        self.status = int(found[1])
        name = re.search(rb"(?im)^x-deployd-release:[ \t]*([0-9a-z-]+)", head)
        self.release = name[1].decode() if name else None
        self.first_byte_ms = round(first_byte_ms, 1)
        self.ms = round(ms, 1)


def ask(
    address: str | tuple[str, int],
    path: str,
    host: str,
    *,
    timeout: float,
    watch: Callable[[], None],
    headers: str = "",
) -> Answer:
    """GET a path and read the whole answer; raises OSError. `watch` is called now and then, and may raise."""
    import select
    import socket

    started = time.monotonic()
    deadline = started + timeout
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: deployd-probe\r\nAccept: */*\r\n"
        f"X-Forwarded-Proto: http\r\n{headers}Connection: close\r\n\r\n"
    )
    with socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET) as connection:
        connection.settimeout(timeout)
        connection.connect(address)
        connection.sendall(request.encode())
        head, first_byte, size = b"", 0.0, 0
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise OSError(0, f"no whole answer within {timeout:g} s")
            if not select.select([connection], [], [], min(left, 0.25))[0]:
                watch()
                continue
            chunk = connection.recv(1 << 16)
            if not chunk:
                break
            first_byte = first_byte or time.monotonic() - started
            size += len(chunk)
            if b"\r\n\r\n" not in head:
                head += chunk[: 1 << 16]
            if size > 64 << 20:
                break
        if not head:
            raise OSError(0, "the connection was closed without an answer")
        return Answer(head, first_byte * 1000, (time.monotonic() - started) * 1000)
