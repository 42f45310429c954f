"""A connection's TLS socket comes in, a plain one that two threads may use goes out: one thread alone touches TLS.

OpenSSL takes no reading and writing of one session by two threads at a time: bytes are lost, or fail their check.
"""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

_PIECE = 65536


def plain(secured: ssl.SSLSocket) -> socket.socket:
    """The other end; closing it ends the connection. Its time limit is the TLS socket's."""
    ours, theirs = socket.socketpair()
    ours.settimeout(secured.gettimeout())
    threading.Thread(target=_carry, args=(secured, theirs), daemon=True, name="tls").start()
    return ours


def _carry(secured: ssl.SSLSocket, theirs: socket.socket) -> None:
    import ssl

    secured.setblocking(False)
    waiting, takes = b"", True
    with secured, theirs, selectors.DefaultSelector() as selector, suppress(OSError):
        selector.register(secured, selectors.EVENT_READ)
        selector.register(theirs, selectors.EVENT_READ)
        while True:
            selector.select()
            if not waiting:
                with suppress(BlockingIOError):
                    waiting = theirs.recv(_PIECE, socket.MSG_DONTWAIT)
                    if not waiting:
                        return
            with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                while waiting:
                    waiting = waiting[secured.send(waiting) :]
            with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                while came := secured.recv(_PIECE):
                    theirs.sendall(came)
                return
            if bool(waiting) == takes:  # what waits for the wire goes before what comes next
                takes = not waiting
                selector.modify(secured, selectors.EVENT_READ | (0 if takes else selectors.EVENT_WRITE))
                _ = selector.register(theirs, selectors.EVENT_READ) if takes else selector.unregister(theirs)
