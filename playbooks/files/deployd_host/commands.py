"""A command comes in and runs as the app's user, in the live release's environment."""

from __future__ import annotations

import os

from deployd_host.places import require_process
from deployd_host.programs import program_environment
from deployd_host.replies import RefusedError
from deployd_host.units import sandbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.calls import Call


def verb_exec(call: Call) -> int:
    """Run a command as the app's user, in the live release's environment; its exit code is ours."""
    place = call.place
    release = place.read_current()
    if release is None:
        raise RefusedError(
            "no-release", f"{place.app} {place.environment} has no live release here", fix="release it first"
        )
    require_process(
        place,
        release,
        "there is no server in whose place a command could run",
        "run it where the site is built; `deployd exec` is for releases with a server",
    )
    settings = [f"--property={name}={value}" for name, value in sandbox(place, release, config=place.config())]
    argv = ["/usr/bin/systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--service-type=exec", *settings]
    # The shell finds the program on the unit's own PATH; systemd-run would look on ours.
    # systemd reads variables in the words of a command itself: a doubled dollar is one.
    words = [word.replace("$", "$$") for word in ("/bin/sh", "-c", 'exec "$@"', "sh", *call.command)]
    os.execve(argv[0], [*argv, "--", *words], program_environment())
