"""A port for a server under test goes out: one that nobody has, and that the kernel gives to nobody by itself."""

from __future__ import annotations

import random
import socket

_RANGE = range(15_000, 32_000)  # below net.ipv4.ip_local_port_range: what runs beside takes its ports from there
_CHANCE = random.SystemRandom()  # each test begins with the same seed of `random`, in each process


def free_port() -> int:
    """A free port, of TCP and UDP, which stays free until the server takes it."""
    while True:
        port = _CHANCE.choice(_RANGE)
        with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
            try:
                stream.bind(("", port))
                datagram.bind(("", port))
            except OSError:
                continue
            return port
