"""What keeps a host's web server: systemd's sockets and "reload" come in, one Caddy after another serves; none is cut.

    deployd_web run       the main process of deployd-web.service
    deployd_web reload    its ExecReload: comes back when a Caddy with the files of now serves; else says why not

Go's HTTP server closes idle connections when its configuration changes, also those on which the next request is on its
way, and it drops what it accepted and has not read yet when it ends. So a Caddy in use is never reloaded. A new one is
started beside it. It may be another version, and when it does not come up, the one before has lost nothing.

deployd-web.socket opens each port several times (`ReusePort=`): the n-th of each is slot n, with a queue of its own,
which systemd holds. The kernel is told which slot gets new connections (one instruction of BPF for each port). So the
old Caddy, which has another slot, accepts nothing more. For some seconds it asks those it has to connect again
(`shutdown_delay`), and then it ends. A slot that nobody serves and that has visitors waiting gets a Caddy as well: so
none waits for ever, whatever happened before. QUIC has connections that only their own Caddy knows: UDP stays with the
oldest one until that is gone.

The Caddy that serves is asked every other second, as a visitor would and at its own socket. One that says nothing for
some seconds gets a successor in the same way: so if it is only slow, what flows through it goes on, and if it hangs, it
is killed a little later.

Standard library only, Python 3.10 or later; it runs as the web server's user.
"""

from __future__ import annotations

import json
import os
import socket
import sys

from keeper import Keeper
from places import CONTROL
from slots import inherited, slots_of
from timing import READY_WITHIN


def reload() -> int:
    """Ask for a new Caddy, and wait until it serves."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as one:
            one.settimeout(2 * READY_WITHIN)
            one.connect(CONTROL)
            one.sendall(b"reload\n")
            told = json.loads(one.makefile().readline() or '{"ok": false, "what": "the web server ended meanwhile"}')
    except (OSError, ValueError) as error:
        told = {"ok": False, "what": f"{CONTROL}: {error}"}
    if not told["ok"]:
        print(told["what"], file=sys.stderr)
    return 0 if told["ok"] else 1


def main() -> int:
    """Do what the first word says."""
    if sys.argv[1:] == ["reload"]:
        return reload()
    slots = slots_of(inherited(os.environ))
    if not slots:
        print("deployd-web: systemd gave no sockets: start deployd-web.socket first", file=sys.stderr)
        return 1
    return Keeper(slots).run()


if __name__ == "__main__":
    sys.exit(main())
