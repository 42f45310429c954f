"""systemd's sockets come in, slots go out: one socket of each port; the kernel hears which slot gets what is new."""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIRST_FD = 3  # systemd's
ASIDE = 100  # where our descriptors are, out of the way of a Caddy's
ATTACH_REUSEPORT_CBPF = 51
RETURN = 0x06  # BPF_RET | BPF_K


class Slot:
    """One socket of each port."""

    def __init__(self, number: int, sockets: Sequence[socket.socket]) -> None:
        self.number = number
        self.sockets = tuple(sockets)
        self.streams = tuple(one for one in sockets if one.type == socket.SOCK_STREAM)

    def waits(self) -> bool:
        """Whether connections wait to be accepted."""
        return bool(select.select(self.streams, (), (), 0)[0])


def slots_of(sockets: Sequence[socket.socket]) -> list[Slot]:
    """The sockets by slots: the n-th of every port in the n-th one. A port that is missing somewhere ends them."""
    kinds: dict[tuple[int, int], list[socket.socket]] = {}
    for one in sockets:
        kinds.setdefault((int(one.getsockname()[1]), int(one.type)), []).append(one)
    return [Slot(number, group) for number, group in enumerate(zip(*kinds.values()))]  # noqa: B905 - Python 3.10's


def inherited(environment: Mapping[str, str]) -> list[socket.socket]:
    """The sockets of systemd, moved out of the way, and closed in what is started unless it is given them."""
    count = int(environment.get("LISTEN_FDS", "0"))
    found = []
    for number in range(FIRST_FD, FIRST_FD + count):
        found.append(socket.socket(fileno=fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, ASIDE)))
        os.close(number)
    return found


def steer(one: socket.socket, index: int) -> None:
    """Have the kernel give new connections (packets, of UDP) to the socket of this port that was opened `index`-th."""
    code = array.array("B", struct.pack("=HBBI", RETURN, 0, 0, index))
    program = struct.pack("@HP", 1, code.buffer_info()[0])
    with contextlib.suppress(OSError):  # a port without SO_REUSEPORT: there is only one slot
        one.setsockopt(socket.SOL_SOCKET, ATTACH_REUSEPORT_CBPF, program)
