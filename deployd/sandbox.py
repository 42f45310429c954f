"""What a program may see and write comes in, the argv that runs it so (through bubblewrap) goes out.

The program gets mount, process, IPC and host-name namespaces of its own: of this machine it sees the system's programs
and settings, read-only, and nothing else: no state folder, no home, no socket, no other process. When it ends, or is
killed, everything that it started is killed with it. As root it runs as a user of its own (`account`); so it does where
deployd is the installed service, which asks `deployd-build.socket` for it (playbooks/files/deployd_builds.py).

Variables are no part of the argv, which everybody on the machine may read: give them to `process.run(env=...)`.
"""

from __future__ import annotations

import functools
import os
import pwd
import shutil
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployd import process
from deployd.errors import CommandError, SandboxError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ACCOUNT = "deployd-build"
# of the numbers that neither Debian, nor systemd, nor any subordinate range gives away (60706 to 61183)
_UID = 60991
_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/opt", "/nix", "/gnu")
# in /etc, whether or not their modes say so too; covered where they exist
_COVERED = ("/etc/deployd", "/etc/ssh", "/etc/letsencrypt", "/etc/caddy", "/etc/docker", "/etc/credstore")
_VAR = ("--perms", "0755", "--dir", "/var", "--symlink", "../tmp", "/var/tmp")  # noqa: S108
_NO_LOGIN = "/usr/sbin/nologin"
_BUILDS = "/usr/local/lib/deployd/deployd_builds.py"
_SOCKET = "/run/deployd-build.sock"


@dataclass(frozen=True, slots=True)
class Account:
    """The user that a sandboxed program runs as, when deployd is root."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What a program may see besides the system's own files. Paths are absolute.

    `readonly` and `writable` map a path of this machine to the place where the program sees it; `hidden` are covered.
    Of two that lie in each other the inner one counts, in any order. `private` is what `private` made; without it /tmp
    is in memory. Without `network` there is the loopback interface alone.
    """

    readonly: Mapping[str, str] = field(default_factory=dict)
    writable: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    private: str | None = None
    network: bool = False
    cwd: str | None = None

    def at(self, cwd: str) -> Sandbox:
        """The same, with a program that starts in `cwd`."""
        return replace(self, cwd=cwd)


def alone(
    argv: Sequence[str],
    *,
    readonly: Mapping[str, str] | None = None,
    writable: Mapping[str, str] | None = None,
    network: bool = False,
    cwd: str | None = None,
    private: str | None = None,
) -> tuple[str, ...]:
    """The argv that runs a program with these folders and files and nothing else of this machine's.

    As root the program has another uid: call `show` on what it reads and `give` on what it writes, once, before.
    """
    box = Sandbox(readonly=readonly or {}, writable=writable or {}, network=network, cwd=cwd, private=private)
    return wrap(argv, box, account=account())


def wrap(argv: Sequence[str], box: Sandbox, *, account: Account | None) -> tuple[str, ...]:
    """The argv that runs `argv` in the box: as `account`, or without one (deployd is not root) as who deployd is."""
    words = ["bwrap", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try", "--die-with-parent"]
    words += ["--new-session"] if account else ["--new-session", "--unshare-user"]
    if account:  # only what entering `cwd` and the change to the other user take; they are gone after it
        words += ["--cap-drop", "ALL", *_words("--cap-add", "CAP_SETUID", "CAP_SETGID", "CAP_DAC_READ_SEARCH")]
    if not box.network:
        words += ["--unshare-net"]
    words += [*_system(), *_private(box)]
    places = [(target, ("--ro-bind", source, target)) for source, target in box.readonly.items()]
    places += [(target, ("--bind", source, target)) for source, target in box.writable.items()]
    words += _words("--dir", *_parents(place for place, _ in places), before=("--perms", "0755"))
    for _, mount in sorted([*places, *_covered(box)], key=lambda place: len(Path(place[0]).parts)):
        words += mount
    words += ["--remount-ro", "/", "--chdir", box.cwd or "/", "--"]
    if account:
        words += ["setpriv", "--reuid", str(account.uid), "--regid", str(account.gid), "--clear-groups"]
        words += ["--inh-caps=-all", "--"]
    return (*(_elsewhere(box) if account and is_elsewhere() else ()), *words, *argv)


def _elsewhere(box: Sandbox) -> list[str]:
    given = [*box.writable, *([str(Path(box.private) / "tmp")] if box.private else [])]
    return [*asking(), *_words("--give", *given), "--"]


def asking() -> tuple[str, ...]:
    """The words before options, "--" and a command that have it run by `deployd-build.socket`."""
    program, place = _program()
    return ("/usr/bin/python3", "-IS", program, "ask", place)


def _program() -> tuple[str, str]:
    return os.environ.get("DEPLOYD_BUILD_PROGRAM", _BUILDS), os.environ.get("DEPLOYD_BUILD_SOCKET", _SOCKET)


@functools.cache
def is_elsewhere() -> bool:
    """Whether sandboxes run as the builds' user though deployd is not root: where its service was installed."""
    program, place = _program()
    return (
        os.geteuid() != 0 and Path(program).exists() and os.access(place, os.R_OK | os.W_OK) and _builder() is not None
    )


def _words(option: str, *values: str, before: tuple[str, ...] = ()) -> list[str]:
    return [word for value in values for word in (*before, option, value)]


def _parents(places: Iterable[str]) -> list[str]:
    """The folders that must be made for the places, outermost first. (Those that bubblewrap makes are its user's.)"""
    above = {parent for place in places for parent in Path(place).parents}
    system = [Path(name) for name in _SYSTEM]
    there = (Path("/"), Path("/var"), Path("/tmp"))  # noqa: S108
    made = [path for path in above if path not in there and not any(path.is_relative_to(name) for name in system)]
    return [str(path) for path in sorted(made, key=lambda path: (len(path.parts), path))]


def _system() -> list[str]:
    words: list[str] = []
    for name in _SYSTEM:
        path = Path(name)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), name]
        elif path.is_dir():
            words += ["--ro-bind", name, name]
    words += ["--ro-bind", "/sys", "/sys", "--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm"]  # noqa: S108
    resolver = Path("/etc/resolv.conf").resolve()  # often a link into /run, which is not there
    if resolver.is_file() and not resolver.is_relative_to("/etc"):
        words += ["--ro-bind", str(resolver), str(resolver)]
    return words


def _private(box: Sandbox) -> list[str]:
    if box.private is None:
        return ["--perms", "1777", "--tmpfs", "/tmp", *_VAR]  # noqa: S108
    inside = Path(box.private)
    words = ["--bind", str(inside / "tmp"), "/tmp", *_VAR]  # noqa: S108
    for name in ("passwd", "group"):
        words += ["--ro-bind", str(inside / name), f"/etc/{name}"]
    return words


def _covered(box: Sandbox) -> Iterator[tuple[str, tuple[str, ...]]]:
    seen = (*_SYSTEM, *box.readonly.values(), *box.writable.values())
    for name in (*_COVERED, *box.hidden):
        path = Path(name)
        if path.exists() and any(path.is_relative_to(folder) and name != folder for folder in seen):
            yield name, ("--tmpfs", name) if path.is_dir() else ("--ro-bind", "/dev/null", name)


def account() -> Account | None:
    """Who sandboxed programs run as, or None for who deployd is.

    `deployd-build` or a number that is nobody's when deployd is root, `deployd-build` where `is_elsewhere`.
    """
    if os.geteuid() != 0:
        return _builder() if is_elsewhere() else None
    return _builder() or Account(_UID, _UID)


def _builder() -> Account | None:
    try:
        entry = pwd.getpwnam(os.environ.get("DEPLOYD_BUILD_ACCOUNT", ACCOUNT))
    except KeyError:
        return None
    return Account(entry.pw_uid, entry.pw_gid)


@contextmanager
def private(parent: Path, *, home: str) -> Iterator[str]:
    """A folder for one run in `parent`: its /tmp on disk, and an /etc/passwd in which its user has a name.

    (Node.js's `os.userInfo()` fails for a user without one.) It is removed afterwards.
    """
    parent.mkdir(parents=True, exist_ok=True)
    who = account() or Account(os.geteuid(), os.getegid())
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=".run-"))
    try:
        (folder / "tmp").mkdir()
        (folder / "tmp").chmod(0o1777)
        passwd = f"root:x:0:0:root:/root:{_NO_LOGIN}\nnobody:x:65534:65534:nobody:/:{_NO_LOGIN}\n"
        group = "root:x:0:\nnogroup:x:65534:\n"
        if who.uid:
            passwd += f"{ACCOUNT}:x:{who.uid}:{who.gid}::{home}:/bin/sh\n"
            group += f"{ACCOUNT}:x:{who.gid}:\n"
        for name, text in (("passwd", passwd), ("group", group)):
            (folder / name).write_text(text)
            (folder / name).chmod(0o644)
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def give(path: Path) -> None:
    """Make a folder and all in it (links as links) the account's own; deployd as root reads and removes it as before.

    Call it while nothing of the account's runs that sees the folder. Nothing happens when deployd is not root: what a
    sandbox writes is given when it starts, and taken back at its end, where `is_elsewhere`.
    """
    who = account()
    if who is None or is_elsewhere():
        return
    for place in _all_in(path):
        if place.stat().st_uid != who.uid:
            os.chown(place.path, who.uid, who.gid, follow_symlinks=False)


def show(path: Path) -> None:
    """Let everyone read a file, or a folder with all in it, that is deployd's own; who may reach it is for its parents.

    Nothing happens where sandboxes run as who deployd is.
    """
    if account() is None:
        return
    for place in _all_in(path):
        info = place.stat()
        wanted = info.st_mode | 0o444 | (0o111 if place.is_folder or info.st_mode & 0o100 else 0)
        if not place.is_link and wanted != info.st_mode:
            Path(place.path).chmod(wanted & 0o7777)


@dataclass(frozen=True, slots=True)
class _Place:
    """A file, link or folder below a walked one."""

    path: str
    is_folder: bool
    is_link: bool

    def stat(self) -> os.stat_result:
        return os.lstat(self.path)


def _all_in(path: Path) -> Iterator[_Place]:
    is_link = path.is_symlink()
    is_folder = path.is_dir() and not is_link
    yield _Place(str(path), is_folder, is_link)
    waiting = [str(path)] if is_folder else []
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                folder = entry.is_dir(follow_symlinks=False)
                yield _Place(entry.path, folder, entry.is_symlink())
                if folder:
                    waiting.append(entry.path)


def take_back(*folders: Path, depth: int = 5) -> None:
    """Take back what was given and is still the builds' user's: the machine stopped in the midst of a build.

    Raises CommandError.
    """
    who = account()
    if who is None or not is_elsewhere():
        return
    left = [place for folder in folders for place in _owned(folder, by=who.uid, depth=depth)]
    if left:
        process.run((*asking(), *_words("--give", *left), "--", "true"), timeout=600)


def _owned(folder: Path, *, by: int, depth: int) -> Iterator[str]:
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.stat(follow_symlinks=False).st_uid == by and not entry.is_symlink():
                yield entry.path
            elif depth > 1 and entry.is_dir(follow_symlinks=False):
                yield from _owned(Path(entry.path), by=by, depth=depth - 1)


@functools.cache
def check() -> None:
    """See, once for this process, that a sandbox can be had on this machine. Raises SandboxError."""
    if shutil.which("bwrap") is None:
        raise SandboxError(
            "bubblewrap is not installed, so what an app's packages and build do could not be contained",
            code="sandbox-missing",
            fix='apt-get install bubblewrap (or, for code that you trust like yourself: build_sandbox = "off")',
        )
    try:
        process.run(alone(["true"]), timeout=20)
    except CommandError as error:
        raise SandboxError(
            "bubblewrap cannot make a sandbox on this machine",
            code="sandbox-refused",
            details=error.details,
            fix='run deployd as root, or allow user namespaces: see docs/builds.md, "Where there is no sandbox"',
        ) from error
