"""Which daemon the command line talks to: settings, login and sockets come in, an address goes out, or None: alone.

In this order: `DEPLOYD_URL` (or `url` in the configuration); the socket in the state folder that was named; what
`deployd login` kept; the socket in the usual state folder, and that of the machine's service.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployd import paths
from deployd.errors import NotAllowedError, UsageError

if TYPE_CHECKING:
    from deployd.cli.context import Cli
    from deployd.remote.connection import Daemon

SERVICE_SOCKET = Path("/run/deployd-control/deployd.sock")
"""Where the service that `deployd install` makes listens for the group."""


def find(cli: Cli) -> Daemon | None:
    """The daemon to talk to; None when this process works alone."""
    url = cli.settings.get("url")
    if url:
        return _by_url(str(url), cli.settings.get("token"))
    named = cli.options.state_dir or os.environ.get("DEPLOYD_STATE_DIR")
    kept = None if named else read_login()
    if kept:
        return _by_url(kept["url"], kept["token"])
    here = [cli.paths.socket] if named else [cli.paths.socket, SERVICE_SOCKET]
    return next(filter(None, map(_by_socket, here)), None)


def login_file() -> Path:
    """What `deployd login` keeps, 0600."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or paths.home() / ".config") / "deployd" / "login.json"


def read_login() -> dict[str, str] | None:
    """`url` and `token`, or None."""
    try:
        found = json.loads(login_file().read_text())
        return {"url": str(found["url"]), "token": str(found["token"])}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{login_file()} cannot be read: {error}", code="login-unreadable", fix="deployd login URL writes it anew"
        ) from error


def write_login(url: str, token: str) -> Path:
    """Keep them for this person alone."""
    file = login_file()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        json.dump({"url": url, "token": token}, out)
    aside.replace(file)
    return file


def _by_url(url: str, token: Any) -> Daemon:
    from deployd.domain.secret import Secret
    from deployd.remote.connection import Daemon

    text = token.get_secret_value() if hasattr(token, "get_secret_value") else token
    if not text:
        raise UsageError(
            f"there is no token for the daemon at {url}",
            code="token-missing",
            fix=f"deployd login {url}, or set DEPLOYD_TOKEN",
        )
    return Daemon(url=url, token=Secret(str(text)))


def _by_socket(path: Path) -> Daemon | None:
    if not os.path.lexists(path):
        return None
    from deployd.remote.connection import Connection, Daemon

    daemon = Daemon(socket=path)
    link = Connection(daemon)
    try:
        return daemon if link.probe() else None  # a socket that nobody listens on: its daemon is gone
    except PermissionError as error:
        raise NotAllowedError(
            f"a daemon serves this machine, and you may not talk to it ({path})",
            code="not-in-group",
            live="unchanged",
            fix="as root: usermod -aG deployd YOUR-NAME, then log in again; or choose another --state-dir",
        ) from error
    finally:
        link.close()
