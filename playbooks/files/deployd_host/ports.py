"""A port comes in, who listens on it goes out."""

from __future__ import annotations

import os

from deployd_host.files import names_in, read_bytes
from deployd_host.paths import ROOT


def listening(port: int) -> list[str]:
    """The inodes of the TCP sockets that listen on a port."""
    found = []
    for name in ("tcp", "tcp6"):
        for line in (read_bytes(f"{ROOT}/proc/net/{name}") or b"").decode().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
                found.append(words[9])
    return found


def holder_of_port(port: int) -> str | None:
    """The programs that listen on a TCP port, by name; None when nobody does."""
    wanted = {f"socket:[{inode}]" for inode in listening(port)}
    if not wanted:
        return None
    found = set()
    for pid in names_in("/proc"):
        if not pid.isdigit():
            continue
        for fd in names_in(f"/proc/{pid}/fd"):
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd}") in wanted:
                    found.add((read_bytes(f"/proc/{pid}/comm") or b"?").decode(errors="replace").strip())
                    break
            except OSError:
                continue
    return ", ".join(sorted(found)) or "a program that cannot be seen"
