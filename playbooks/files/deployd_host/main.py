"""A call comes in, by the forced command, sudo or root, and the half of the helper that it is for goes to work."""

from __future__ import annotations

import os
import sys

from deployd_host.replies import RefusedError, tell


def main() -> int:
    """Find out in which way we are called, and do it."""
    os.umask(0o022)
    argv = sys.argv[1:]
    command = os.environ.get("SSH_ORIGINAL_COMMAND")
    try:
        if argv and os.geteuid() == 0:
            from deployd_host.root import root_half

            from_key = argv[0] == "--root-half"
            return root_half(argv[1:] if from_key else argv, from_key=from_key)
        from deployd_host.front import front_half, split_command

        front_half(argv or split_command(command))
    except RefusedError as error:
        # rsync would take what comes on stdout for its own protocol.
        return tell(error, live=None, to=2 if error.code == "rsync-refused" else 1)
