"""An argv comes in, a program's exit code and output go out; there is no shell."""

from __future__ import annotations

import os
import time

from deployd_host.paths import ROOT, SYSTEMCTL
from deployd_host.replies import RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


class Done:
    """A program that has ended."""

    __slots__ = ("code", "error", "out")

    def __init__(self, code: int, out: bytes, error: bytes) -> None:
        self.code = code
        self.out = out.decode(errors="replace")
        self.error = error.decode(errors="replace").strip()


def program_environment() -> dict[str, str]:
    """What our programs inherit; in tests the replacements may need more."""
    own = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
    return {**os.environ, **own} if ROOT else own


def launch(argv: Sequence[str], *, home: str | None = None) -> tuple[int, int, int]:
    """Start a program with stdin closed; returns its pid and the descriptors of its stdout and stderr.

    What it keeps goes into `home`, where that is given.
    """
    out, out_end = os.pipe()
    error, error_end = os.pipe()
    try:
        pid = os.posix_spawn(
            argv[0],
            list(argv),
            {**program_environment(), **({"HOME": home, "XDG_DATA_HOME": home} if home else {})},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_DUP2, out_end, 1),
                (os.POSIX_SPAWN_DUP2, error_end, 2),
            ],
        )
    except OSError as problem:
        os.close(out)
        os.close(error)
        raise RefusedError(
            "program-missing", f"{argv[0]} could not be started: {problem}", fix="bootstrap the host again"
        ) from problem
    finally:
        os.close(out_end)
        os.close(error_end)
    return pid, out, error


def run(argv: Sequence[str], *, timeout: float = 90.0, home: str | None = None) -> Done:
    """Run a program to its end; one that takes longer than `timeout` is killed."""
    import select

    pid, out, error = launch(argv, home=home)
    parts: dict[int, list[bytes]] = {out: [], error: []}
    open_ends = {out, error}
    deadline = time.monotonic() + timeout
    while open_ends:
        left = deadline - time.monotonic()
        if left <= 0:
            os.kill(pid, 9)
            break
        for fd in select.select(list(open_ends), [], [], left)[0]:
            chunk = os.read(fd, 1 << 16)
            if chunk:
                parts[fd].append(chunk)
            else:
                open_ends.discard(fd)
    os.close(out)
    os.close(error)
    _, status = os.waitpid(pid, 0)
    return Done(os.waitstatus_to_exitcode(status), b"".join(parts[out]), b"".join(parts[error]))


def systemctl(*words: str, timeout: float = 90.0) -> Done:
    """Ask systemd."""
    return run([SYSTEMCTL, *words], timeout=timeout)


def unit_facts(*units: str) -> dict[str, dict[str, str]]:
    """What systemd knows of these units (patterns match the loaded ones): unit name -> property -> value."""
    wanted = "Id,LoadState,ActiveState,SubState,NRestarts,MainPID,ExecMainStatus,MemoryCurrent"
    done = systemctl("show", f"--property={wanted}", "--", *units)
    facts: dict[str, dict[str, str]] = {}
    for block in done.out.split("\n\n"):
        one = dict(line.partition("=")[::2] for line in block.splitlines())
        if "Id" in one:
            facts[one["Id"]] = one
    return facts
