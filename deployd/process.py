"""The one door to other programs: an argv comes in, a `Completed` goes out.

Nothing inherits the caller's environment but PATH, HOME, LANG and what is passed; stdin is closed unless given; a time
limit or a cancel ends the whole process group. A child dies with the thread that started it.
"""

from __future__ import annotations

import errno
import os
import selectors
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.errors import CancelledError, CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Child = subprocess.Popen[bytes]
"""A program that `spawn` started."""
_GRACE = 5.0
_KEPT_BYTES = 16 * 1024 * 1024
_LONGEST_LINE = 1024 * 1024
_OF_A_TERMINAL = {-signal.SIGINT, -signal.SIGQUIT, -signal.SIGHUP}
_TRIES, _LOOKS = 20, 200
_LONG, _PAUSE = 0.002, 0.1  # seconds for one chunk's lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """A finished program. Outputs are bytes; with `on_line`, stdout holds both streams' last 16 MiB."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes
    seconds: float

    @property
    def text(self) -> str:
        """Stdout as text."""
        return self.stdout.decode(errors="replace")

    @property
    def error_text(self) -> str:
        """Stderr as text, or stdout's where stderr has nothing."""
        return (self.stderr or self.stdout).decode(errors="replace").strip()


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A clean environment: PATH, HOME and LANG, and `extra`."""
    base = {
        "PATH": os.environ.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        "HOME": os.environ.get("HOME", "/root"),
        "LANG": "C.UTF-8",
    }
    return base | dict(extra or {})


def _tied(argv: Sequence[str]) -> list[str]:
    """The argv that dies with the thread that starts it. (A preexec_fn would run Python between fork and exec, and a
    signal handler that raises there leaves locks held for ever.)
    """
    return ["setpriv", "--pdeathsig", "KILL", "--", *argv]


def spawn(
    argv: Sequence[str],
    *,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = subprocess.PIPE,
    stderr: int | None = subprocess.PIPE,
    pass_fds: Sequence[int] = (),
    dies_with_us: bool = True,
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own; raises CommandError when it cannot be started.

    With `dies_with_us` it is killed when the calling *thread* ends: leave it out for what outlives its starter.
    """
    clean = environment(env)
    try:
        if shutil.which(argv[0], path=clean["PATH"]) is None:
            raise FileNotFoundError(f"no {argv[0]} on PATH")
        return _begun(
            lambda: subprocess.Popen(
                _tied(argv) if dies_with_us else list(argv),
                cwd=cwd,
                env=clean,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                pass_fds=tuple(pass_fds),
            )
        )
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.E2BIG:
            raise CommandError(
                f"{argv[0]} could not be started: its variables are larger than a program may be given",
                code="environment-too-large",
                fix="see `deployd env list`: 100 kB for one value, 2 MB for all; keep what is larger in a file",
            ) from error
        missing = error.filename if isinstance(error, FileNotFoundError) else None  # it may be what ties it to us
        name = argv[0] if missing in (None, str(cwd)) else missing
        raise CommandError(
            f"{argv[0]} could not be started: {error}", code="command-missing", fix=f"install {name}, or see PATH"
        ) from error


def _begun(begin: Callable[[], Child]) -> Child:
    """A child that has a session of its own; another one for each that the terminal's Ctrl-C ended before it had."""
    child = begin()
    for _ in range(_TRIES):
        if not _was_never_ours(child):
            break
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream:
                stream.close()
        child = begin()
    return child


def _was_never_ours(process: subprocess.Popen[bytes]) -> bool:
    """Whether a signal of the terminal's (Ctrl-C) ended a child before it had a session, and a program, of its own."""
    for _ in range(_LOOKS):
        code = process.poll()
        if code is not None:
            return code in _OF_A_TERMINAL
        with suppress(OSError):
            if Path("/proc", str(process.pid), "cmdline").read_bytes():
                return False
        time.sleep(0.001)  # one that ends, or takes on its program, has no words just then
    return False


def end(process: subprocess.Popen[bytes], *, grace: float = _GRACE) -> None:
    """End a program and its whole process group: SIGTERM, then SIGKILL after `grace` seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(timeout=grace)
            if number == signal.SIGTERM:
                continue  # the leader is gone; the group may not be
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def ended(process: subprocess.Popen[bytes], *, within: float) -> bool:
    """Whether it ended by itself `within` seconds."""
    try:
        process.wait(timeout=within)
    except subprocess.TimeoutExpired:
        return False
    return True


def run(
    argv: Sequence[str],
    *,
    cwd: Path | str | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
    timeout: float | None = 60.0,
    check: bool = True,
    on_line: Callable[[str], None] | None = None,
    cancel: threading.Event | None = None,
) -> Completed:
    """Run a program to its end.

    `on_line` gets each line of stdout and stderr as it comes. Raises CommandError when it cannot be started, takes
    longer than `timeout` seconds, or (with `check`) exits with other than 0; CancelledError once `cancel` is set.
    """
    started = time.monotonic()
    process = spawn(
        argv,
        cwd=cwd,
        env=env,
        stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
        stderr=subprocess.STDOUT if on_line else subprocess.PIPE,
    )
    try:
        out, err = _pump(process, argv=argv, stdin=stdin, timeout=timeout, on_line=on_line, cancel=cancel)
        process.wait()
    except BaseException:
        end(process)
        raise
    finally:
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()
    done = Completed(
        argv=tuple(argv),
        returncode=process.returncode,
        stdout=out,
        stderr=err,
        seconds=time.monotonic() - started,
    )
    if check and done.returncode != 0:
        raise failed(done)
    return done


def failed(done: Completed) -> CommandError:
    """The error of a program that exited with other than 0: a line to paste, and the last lines of its output."""
    tail = "\n".join(done.error_text.splitlines()[-20:])
    return CommandError(
        f"`{shlex.join(done.argv)}` exited with {done.returncode}",
        details=tail or None,
        fix="read the lines above; the command can be pasted into a shell",
    )


class _Kept:
    """The last 16 MiB of a stream."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0

    def add(self, chunk: bytes) -> None:
        self._chunks.append(chunk)
        self._size += len(chunk)
        while self._size > _KEPT_BYTES and len(self._chunks) > 1:
            self._size -= len(self._chunks.popleft())

    def all(self) -> bytes:
        return b"".join(self._chunks)


class _Lines:
    """Cuts a stream into lines and hands each on."""

    def __init__(self, on_line: Callable[[str], None] | None) -> None:
        self._on_line = on_line
        self._rest = b""

    def add(self, chunk: bytes) -> None:
        if not self._on_line:
            return
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _LONGEST_LINE:  # cut at a space, so that no word is in two lines
            end = self._rest.rfind(b" ") + 1 or len(self._rest)
            lines, self._rest = [*lines, self._rest[:end]], self._rest[end:]
        for line in lines:
            self._on_line(line.decode(errors="replace").rstrip("\r"))

    def finish(self) -> None:
        if self._rest:
            self.add(b"\n")


def _pump(
    process: subprocess.Popen[bytes],
    *,
    argv: Sequence[str],
    stdin: bytes | None,
    timeout: float | None,
    on_line: Callable[[str], None] | None,
    cancel: threading.Event | None,
) -> tuple[bytes, bytes]:
    deadline = None if timeout is None else time.monotonic() + timeout
    kept = {"stdout": _Kept(), "stderr": _Kept()}
    lines = _Lines(on_line)
    if stdin is not None:
        threading.Thread(target=_feed, args=(process, stdin), daemon=True).start()
    with selectors.DefaultSelector() as selector:
        for name in kept:
            stream = getattr(process, name)
            if stream:
                selector.register(stream, selectors.EVENT_READ, name)
        while selector.get_map():
            _look(argv, deadline=deadline, timeout=timeout, cancel=cancel, output=kept["stdout"])
            for key, _ in selector.select(timeout=0.2):
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    selector.unregister(key.fileobj)
                kept[key.data].add(chunk)
                began = time.monotonic()
                lines.add(chunk)
                spent = time.monotonic() - began
                if spent > _LONG:  # a program that floods waits, and this process has time for its other threads
                    time.sleep(min(spent, _PAUSE))
            if selector.get_map() and process.poll() is not None and not selector.select(timeout=0.05):
                break  # a grandchild may hold the pipe open for ever
    lines.finish()
    return kept["stdout"].all(), kept["stderr"].all()


def _look(
    argv: Sequence[str],
    *,
    deadline: float | None,
    timeout: float | None,
    cancel: threading.Event | None,
    output: _Kept,
) -> None:
    if cancel and cancel.is_set():
        raise CancelledError(f"{argv[0]} was cancelled", fix="run it again when you are ready")
    if deadline and time.monotonic() > deadline:
        raise CommandError(
            f"`{shlex.join(argv)}` took longer than {timeout:g} s and was ended",
            code="command-timeout",
            details=output.all()[-2000:].decode(errors="replace") or None,
            fix="raise the time limit, or see why it hangs",
        )


def _feed(process: subprocess.Popen[bytes], data: bytes) -> None:
    if process.stdin is None:
        return
    try:
        process.stdin.write(data)
        process.stdin.close()
    except OSError:
        return  # it ended before it read all: its exit code says why
