"""A command on a host, through the daemon: its stdin goes out while its output comes in, over its own connection."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from deployd.errors import UnreachableError
from deployd.remote import bothways
from deployd.remote.connection import BROKEN, events_of, opened, refuse, unreachable
from deployd.rollouts.values import error_from_json

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Mapping

    from deployd.remote.connection import Daemon

_PIECE = 65536


def exchange(
    daemon: Daemon, path: str, head: Mapping[str, Any], *, stdin: BinaryIO | None, stdout: BinaryIO, stderr: BinaryIO
) -> int:
    """Run it to its end; returns its exit code."""
    connection, headers = opened(daemon)
    try:
        connection.connect()
        if isinstance(connection, http.client.HTTPSConnection):
            connection.sock = bothways.plain(cast("ssl.SSLSocket", connection.sock))
        connection.putrequest("POST", path)
        for name, value in {**headers, "Transfer-Encoding": "chunked"}.items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(_chunk(json.dumps(head).encode() + b"\n"))
        wire = connection.sock
        threading.Thread(target=_feed, args=(wire, stdin), daemon=True, name="stdin").start()
        reply = connection.getresponse()
        refuse(reply)
        wire.settimeout(None)  # a command may say nothing for hours; the daemon says that it is there
        for name, fields in events_of(reply):
            if name == "end":
                if fields.get("error"):
                    raise error_from_json(fields["error"])
                return int(fields["result"])
            out = stderr if name == "stderr" else stdout
            out.write(base64.b64decode(fields["data"]))
            out.flush()
    except BROKEN as error:
        raise unreachable(daemon, error) from error
    finally:
        connection.close()
    raise UnreachableError(
        "the daemon ended before the command did",
        code="daemon-gone",
        live="unknown to this command",
        fix="see `systemctl status deployd` there",
    )


def _feed(wire: socket.socket, stdin: BinaryIO | None) -> None:
    with suppress(OSError, ValueError):  # the command ended before its input did
        if stdin is not None:
            read = getattr(stdin, "read1", stdin.read)
            while data := read(_PIECE):
                wire.sendall(_chunk(data))
        wire.sendall(b"0\r\n\r\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
