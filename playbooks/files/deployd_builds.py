"""A build's command and the paths that it writes come in over a socket, its exit code goes out; nothing of it stays.

    deployd_builds.py serve                                one connection of deployd-build.socket, for systemd
    deployd_builds.py ask SOCKET [OPTIONS] -- COMMAND...   the daemon's side: like COMMAND itself, run over there

The daemon has no right that another user does not have, and cannot start anything as somebody else. This can do one
thing more, CAP_SETUID: it makes a user namespace that knows two users, the daemon's (in there: root) and the builds'.
The command runs in it, so it is root over what these two own and nobody to the rest of the machine, whatever the daemon
says. (The command is bubblewrap, which becomes the builds' user before anything of the app runs.)

Before it the paths are given to the builds' user, and taken back when no process of it is left. Two builds may share a
path: the last one takes it back. A connection that ends (a cancel, a time limit, a daemon that was killed) ends the
command with all that it started. Memory and disk are watched: a build that takes too much is ended and told why.

Standard library only, Python 3.10 or later; it runs as the daemon's user.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import json
import os
import pwd
import select
import signal
import socket
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

ACCOUNT = os.environ.get("DEPLOYD_BUILD_ACCOUNT", "deployd-build")
CONNECTION = 3  # systemd's
ASIDE = 100  # where descriptors of ours are, out of the way of the command's
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
LONGEST = 8 << 20  # bytes of a request
LOOK_EVERY = 0.25  # seconds between two looks at what a build takes
SHARE_OF_MEMORY = 0.8  # of the machine's, for a build of which nothing else is said
LEAST_DISK = 1 << 30  # bytes that a build leaves free, or this share of a small disk:
LEAST_SHARE = 0.03
BROKEN = 125  # the exit code when it is not the command's
PAGE = os.sysconf("SC_PAGE_SIZE")


# --- the daemon's side ------------------------------------------------------------------------------------------------


def ask(words: Sequence[str]) -> int:
    """Have a command run over there with our own stdin, stdout, stderr and variables; returns its exit code."""
    place, options, argv = words[0], [], list(words[1:])
    while argv and argv[0] != "--":
        options.append((argv.pop(0), argv.pop(0)))
    request = {
        "argv": argv[1:],
        "env": dict(os.environ),
        "give": [value for name, value in options if name == "--give"],
        "memory": next((int(value) for name, value in options if name == "--memory"), 0),
    }
    # a server finds its listening socket as descriptor 3
    shared = [0, 1, 2, 3] if os.environ.get("LISTEN_FDS") == "1" else [0, 1, 2]
    code = asked(place, request, shared)
    if code is None:  # it was killed: what it had given is taken back by another one
        asked(place, {**request, "argv": ["true"]}, [0, 1, 2])
        return told(2, "what ran the build ended without a word: journalctl -u 'deployd-build@*'")
    return code


def asked(place: str, request: dict[str, Any], shared: Sequence[int]) -> int | None:
    """The answer to one request; None when the other side went away without one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(place)
        except OSError as error:
            return told(2, f"{place}: {error.strerror}; see systemctl status deployd-build.socket")

        def ended(*_: object) -> None:  # it answers when all is ended, and taken back
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_WR)

        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, ended)
        data = json.dumps(request).encode()
        try:
            connection.sendmsg(
                [struct.pack("!I", len(data))], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", shared))]
            )
            connection.sendall(data)
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
            return int(json.loads(answer)["code"])
        except (OSError, ValueError, KeyError):
            return None


def told(where: int, what: str) -> int:
    """Say why it is not the command's own exit code."""
    with contextlib.suppress(OSError):
        os.write(where, f"deployd: {what}\n".encode())
    return BROKEN


# --- systemd's side ---------------------------------------------------------------------------------------------------


def serve(connection: socket.socket) -> None:
    """Serve one connection to its end."""
    uid = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
    if uid != os.getuid():
        return
    received = receive(connection)
    if received is None:
        return
    request, descriptors = received
    builder = pwd.getpwnam(ACCOUNT)
    ours, theirs = os.pipe(), os.pipe()
    keeper = os.fork()
    if keeper == 0:
        connection.close()
        os.close(theirs[1])
        os._exit(keep(request, descriptors, (builder.pw_uid, builder.pw_gid), ready=ours[1], mapped=theirs[0]))
    for descriptor in (*descriptors, ours[1], theirs[0]):
        os.close(descriptor)
    if os.read(ours[0], 1):
        for name, own, other in (("uid", os.getuid(), builder.pw_uid), ("gid", os.getgid(), builder.pw_gid)):
            with open(f"/proc/{keeper}/{name}_map", "w", encoding="ascii") as opened:
                opened.write(f"0 {own} 1\n{other} {other} 1\n")
        os.write(theirs[1], b".")
    code = attended(connection, keeper, until=ours[0])
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps({"code": code}).encode())


def receive(connection: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    """The request and the command's descriptors, or None when the other side went away."""
    head, ancillary, _, _ = connection.recvmsg(4, socket.CMSG_SPACE(4 * array.array("i").itemsize))
    numbers = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            numbers.frombytes(data[: len(data) - len(data) % numbers.itemsize])
    descriptors = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, ASIDE) for number in numbers]
    for number in numbers:
        os.close(number)
    if len(head) < 4 or not descriptors:
        return None
    (length,) = struct.unpack("!I", head)
    text = bytearray()
    while len(text) < min(length, LONGEST):
        chunk = connection.recv(65536)
        if not chunk:
            return None
        text += chunk
    return json.loads(text), descriptors


def attended(connection: socket.socket, keeper: int, *, until: int) -> int:
    """Wait for the keeper's end, and ask it to end all when the connection does; returns the command's exit code."""
    watched: list[Any] = [connection, until]
    while True:
        readable, _, _ = select.select(watched, [], [])
        if until in readable and not os.read(until, 1):
            break
        if connection in readable and not connection.recv(1):
            os.kill(keeper, signal.SIGTERM)
            watched.remove(connection)
    code = os.waitstatus_to_exitcode(os.waitpid(keeper, 0)[1])
    return code if code >= 0 else BROKEN


def keep(
    request: dict[str, Any], descriptors: Sequence[int], builder: tuple[int, int], *, ready: int, mapped: int
) -> int:
    """In a user namespace of two users: give, run, take back. Returns the exit code."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWUSER):
            return told(descriptors[-1], f"no user namespace can be had: {os.strerror(ctypes.get_errno())}")
        os.write(ready, b".")
        if not os.read(mapped, 1):
            return BROKEN
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        with given(request["give"], builder):
            return run(request, descriptors)
    except OSError as error:
        return told(descriptors[2], f"the build could not be run: {error}")


@contextlib.contextmanager
def given(paths: Sequence[str], to: tuple[int, int]) -> Iterator[None]:
    """While it lasts the paths are the builds' user's."""
    held = []
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        held.append((path, descriptor))
        own(path, to)
    try:
        yield
    finally:
        for path, descriptor in held:
            with contextlib.suppress(OSError):  # another build has it: that one takes it back
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                own(path, (0, 0))
            os.close(descriptor)


def own(path: str, who: tuple[int, int]) -> None:
    """Make a file or a folder with all in it somebody's (links as links), the outermost last: it tells if all are.

    Folders are held open, not named: another build may put a link in the place of one meanwhile.
    """
    if os.path.isdir(path) and not os.path.islink(path):
        for _, folders, files, folder in os.fwalk(path, topdown=False):
            for name in (*files, *folders):
                change(name, who, within=folder)
    change(path, who)


def change(name: str, who: tuple[int, int], *, within: int | None = None) -> None:
    """Make one file, link or folder somebody's; not what is neither of the two users'."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        if os.lstat(name, dir_fd=within).st_uid != who[0]:
            os.chown(name, *who, dir_fd=within, follow_symlinks=False)


def run(request: dict[str, Any], descriptors: Sequence[int]) -> int:
    """Run the command to its end, and all that it started; returns its exit code."""
    watched = {signal.SIGCHLD, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)
    command = os.fork()
    if command == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, watched)
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        become(request, descriptors)
    code: int | None = None
    ending, look = False, time.monotonic() + LOOK_EVERY
    while True:
        code = reaped(command, code)
        if not children(os.getpid()):
            return BROKEN if code is None else code
        ending = ending or code is not None
        if ending:  # the kernel ends what is in the sandbox with its first process; this ends what is around it
            for pid in children(os.getpid()):
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
        came = signal.sigtimedwait(watched, 0.02 if ending else LOOK_EVERY)
        ending = ending or (came is not None and came.si_signo == signal.SIGTERM)
        if not ending and time.monotonic() >= look:
            began = time.monotonic()
            why = too_much(request)
            if why:
                told(descriptors[2], why)
                ending = True
            look = time.monotonic() + max(LOOK_EVERY, 10 * (time.monotonic() - began))


def reaped(command: int, code: int | None) -> int | None:
    """Take note of every process that has ended; returns the command's exit code as soon as there is one."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == command:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else 128 - ended


def become(request: dict[str, Any], descriptors: Sequence[int]) -> None:
    """Be the command, with its descriptors as 0, 1, 2 (and 3)."""
    try:
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        if len(descriptors) == CONNECTION:
            with contextlib.suppress(OSError):
                os.close(CONNECTION)
        os.chdir("/")
        os.execvpe(request["argv"][0], request["argv"], request["env"])
    except OSError as error:
        told(2, f"{request['argv'][0]} could not be started: {error}")
    finally:
        os._exit(BROKEN)


def too_much(request: dict[str, Any]) -> str | None:
    """Why the build is ended, if it takes more of the memory or the disk than there is for it."""
    limit = request["memory"] or int(os.sysconf("SC_PHYS_PAGES") * PAGE * SHARE_OF_MEMORY)
    if sum(resident(pid) for pid in descendants(os.getpid())) > limit:
        return f"the build took more than {limit >> 20} MiB of memory, and was ended (build.memory)"
    for path in request["give"]:
        disk = os.statvfs(path)
        least = min(LEAST_DISK, int(disk.f_blocks * disk.f_frsize * LEAST_SHARE))
        if disk.f_bavail * disk.f_frsize < least:
            return (
                f"no space left on device: the build left less than {least >> 20} MiB of the disk free, and was ended"
            )
    return None


def children(pid: int) -> list[int]:
    """The processes whose parent it is."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as opened:
                found += map(int, opened.read().split())
    return found


def descendants(pid: int) -> list[int]:
    """All below it."""
    found, waiting = list[int](), children(pid)
    while waiting:
        found.append(waiting.pop())
        waiting += children(found[-1])
    return found


def resident(pid: int) -> int:
    """Bytes of memory that are its own."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as opened:
            _, there, shared, *_ = opened.read().split()
    except (OSError, ValueError):  # it is gone
        return 0
    return (int(there) - int(shared)) * PAGE


def main(words: Sequence[str]) -> int:
    """Do what the first word says."""
    if words[:1] == ["serve"]:
        with socket.socket(fileno=CONNECTION) as connection:
            connection.set_inheritable(False)
            serve(connection)
        return 0
    if words[:1] == ["ask"] and "--" in words:
        return ask(words[1:])
    sys.stderr.write("deployd_builds.py serve | ask SOCKET [--give PATH]... [--memory BYTES] -- COMMAND...\n")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
