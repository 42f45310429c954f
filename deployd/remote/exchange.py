"""A command on a host, through the daemon: its stdin goes out while its output comes in, over its own connection."""

from __future__ import annotations

import base64
import http.client
import json
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO

from deployd.errors import UnreachableError
from deployd.remote.connection import BROKEN, events_of, opened, refuse, unreachable
from deployd.rollouts.values import error_from_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.remote.connection import Daemon

_PIECE = 65536


def exchange(
    daemon: Daemon, path: str, head: Mapping[str, Any], *, stdin: BinaryIO | None, stdout: BinaryIO, stderr: BinaryIO
) -> int:
    """Run it to its end; returns its exit code."""
    connection, headers = opened(daemon)
    try:
        connection.putrequest("POST", path)
        for name, value in {**headers, "Transfer-Encoding": "chunked"}.items():
            connection.putheader(name, value)
        connection.endheaders()
        _send(connection, json.dumps(head).encode() + b"\n")
        threading.Thread(target=_feed, args=(connection, stdin), daemon=True, name="stdin").start()
        reply = connection.getresponse()
        refuse(reply)
        if connection.sock:
            connection.sock.settimeout(None)  # a command may say nothing for hours; the daemon says that it is there
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


def _feed(connection: http.client.HTTPConnection, stdin: BinaryIO | None) -> None:
    with suppress(OSError, ValueError, http.client.HTTPException):  # the command ended before its input did
        if stdin is not None:
            read = getattr(stdin, "read1", stdin.read)
            while data := read(_PIECE):
                _send(connection, data)
        connection.send(b"0\r\n\r\n")


def _send(connection: http.client.HTTPConnection, data: bytes) -> None:
    connection.send(b"%x\r\n%b\r\n" % (len(data), data))
