"""Where everything is."""

from __future__ import annotations

import contextlib
import os
import socket

RUN = os.environ.get("DEPLOYD_WEB_RUN_ROOT", "/run/deployd-web")
PROGRAM = os.environ.get("DEPLOYD_WEB_PROGRAM", "/srv/deployd/web/current/caddy")
CONFIG = os.environ.get("DEPLOYD_WEB_CONFIG", "/etc/deployd/web/Caddyfile")
CONTROL = f"{RUN}/control.sock"
LEAVING = f"{RUN}/leaving"


def remove(folder: str) -> None:
    """Remove a folder of files."""
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            os.unlink(f"{folder}/{name}")
    with contextlib.suppress(OSError):
        os.rmdir(folder)


def listening(path: str) -> socket.socket:
    """A new unix socket that only its own user may call."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    one.bind(path)
    os.umask(before)
    one.listen(16)
    return one
