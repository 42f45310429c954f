"""A command comes in and runs as the app's user, in a release's environment."""

from __future__ import annotations

import os

from deployd_host.places import require_process, require_sealed
from deployd_host.programs import program_environment, systemctl
from deployd_host.replies import RefusedError
from deployd_host.units import sandbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd_host.calls import Call
    from deployd_host.places import Place

_SYSTEMD_RUN = "/usr/bin/systemd-run"


def verb_exec(call: Call) -> int:
    """Run a command as the app's user, in the environment of the live release or of --release; its exit code is ours.

    With --limit it is ended after so many seconds, and when nobody reads what it writes any more.
    """
    place = call.place
    release = _release(call)
    require_process(
        place,
        release,
        "there is no server in whose place a command could run",
        "run it where the site is built; `deployd exec` is for releases with a server",
    )
    settings = [f"--property={name}={value}" for name, value in sandbox(place, release, config=place.config())]
    # The shell finds the program on the unit's own PATH; systemd-run would look on ours.
    # systemd reads variables in the words of a command itself: a doubled dollar is one.
    words = [word.replace("$", "$$") for word in ("/bin/sh", "-c", 'exec "$@"', "sh", *call.command)]
    command = [*settings, "--", *words]
    argv = [_SYSTEMD_RUN, "--quiet", "--pipe", "--wait", "--collect", "--service-type=exec"]
    if "--limit" not in call.options:
        os.execve(argv[0], [*argv, *command], program_environment())
    return _watched(place, argv, command, limit=call.options["--limit"])


def _release(call: Call) -> str:
    """The release that the command is for; it must be here."""
    place, release = call.place, call.options.get("--release") or call.place.read_current()
    if release is None:
        raise RefusedError(
            "no-release", f"{place.app} {place.environment} has no live release here", fix="release it first"
        )
    require_sealed(place, release)
    return release


def _watched(place: Place, argv: Sequence[str], command: Sequence[str], *, limit: str) -> int:
    """Run it as a unit with a name of its own: one at a time, and what an earlier try left running is ended first."""
    import select

    unit = f"deployd-before-{place.name}.service"
    systemctl("stop", unit, timeout=120)
    pid = os.posix_spawn(
        argv[0],
        [*argv, f"--unit={unit}", f"--property=RuntimeMaxSec={limit}", *command],
        program_environment(),
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)],
    )
    ended = os.pidfd_open(pid)
    poll = select.poll()
    poll.register(ended, select.POLLIN)
    poll.register(1, 0)  # an error on stdout means that nobody reads any more
    while ended not in (ready := dict(poll.poll())):
        if 1 in ready:
            systemctl("stop", unit, timeout=120)
            break
    _, status = os.waitpid(pid, 0)
    os.close(ended)
    return os.waitstatus_to_exitcode(status)
