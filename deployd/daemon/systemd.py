"""Talks to systemd: a state goes out as one datagram to `NOTIFY_SOCKET`; without systemd nothing happens."""

from __future__ import annotations

import os
import socket
import time


def notify(*lines: str) -> None:
    """Tell systemd: `READY=1`, `STATUS=...`, `WATCHDOG=1`, `STOPPING=1`."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    place = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.sendto("\n".join(lines).encode(), place)
    except OSError:
        return  # a notification that is lost is noticed by systemd itself


def reloading() -> None:
    """A reload begins; `READY=1` ends it."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_every() -> float | None:
    """Seconds between two signs of life: half of what systemd allows; None when it does not watch."""
    wanted, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if not wanted.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(wanted) / 2_000_000
