"""What keeps a host's web server: systemd's sockets and "reload" come in, one Caddy after another serves; none is cut.

    deployd_web.py run       the main process of deployd-web.service
    deployd_web.py reload    its ExecReload: comes back when a Caddy with the files of now serves; else says why not

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

import array
import contextlib
import errno
import fcntl
import json
import os
import re
import selectors
import signal
import socket
import struct
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

RUN = os.environ.get("DEPLOYD_WEB_RUN_ROOT", "/run/deployd-web")
PROGRAM = os.environ.get("DEPLOYD_WEB_PROGRAM", "/srv/deployd/web/current/caddy")
CONFIG = os.environ.get("DEPLOYD_WEB_CONFIG", "/etc/deployd/web/Caddyfile")
CONTROL = f"{RUN}/control.sock"
LEAVING = f"{RUN}/leaving"

FIRST_FD = 3  # systemd's
ASIDE = 100  # where our descriptors are, out of the way of a Caddy's
ATTACH_REUSEPORT_CBPF = 51
RETURN = 0x06  # BPF_RET | BPF_K
READY_WITHIN = 60.0  # seconds
QUIC_WITHIN = 10.0  # for which UDP stays with a Caddy after it has closed its listeners
STOP_WITHIN = 10.0  # for which requests under way are waited for when all of it ends
EARLIER = 0.3  # before the last one closes its listeners, new connections are sent where they can wait
MOST = 5  # Caddies at a time: the oldest one is ended for a sixth
BACK_OFF = (0.0, 0.2, 0.5, 1.0, 2.0)  # between starts of one that ends by itself
SILENT = float(os.environ.get("DEPLOYD_WEB_SILENT", "6"))  # after which one that answers nowhere gets a successor
ASK_EVERY = min(2.0, SILENT)
DEAF = 5 * SILENT  # the same for one that answers at its own socket: too many visitors may be the reason
TAKES_OVER_AGAIN = 5 * SILENT  # between two successors
LEAVE_WITHIN = 30.0  # of one that leaves, beyond its delay: Caddy itself ends what is under way after 20
IDLE = SILENT  # a silent one that leaves, and used no processor for so long, is killed
PORTS = ((80, socket.SOCK_STREAM), (443, socket.SOCK_STREAM), (443, socket.SOCK_DGRAM))


class Slot:
    """One socket of each port."""

    def __init__(self, number: int, sockets: Sequence[socket.socket]) -> None:
        self.number = number
        self.sockets = tuple(sockets)
        self.streams = tuple(one for one in sockets if one.type == socket.SOCK_STREAM)

    def waits(self) -> bool:
        """Whether connections wait to be accepted."""
        import select

        return bool(select.select(self.streams, (), (), 0)[0])


def slots_of(sockets: Sequence[socket.socket]) -> list[Slot]:
    """The sockets by slots: the n-th of every port in the n-th one. A port that is missing somewhere ends them."""
    kinds: dict[tuple[int, int], list[socket.socket]] = {}
    for one in sockets:
        kinds.setdefault((int(one.getsockname()[1]), int(one.type)), []).append(one)
    return [Slot(number, group) for number, group in enumerate(zip(*kinds.values()))]  # noqa: B905 - Python 3.10's


def inherited(environment: Mapping[str, str]) -> list[socket.socket]:
    """The sockets of systemd, moved out of the way, and closed in what is started unless it is given them."""
    count = int(environment.get("LISTEN_FDS", "0"))
    found = []
    for number in range(FIRST_FD, FIRST_FD + count):
        found.append(socket.socket(fileno=fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, ASIDE)))
        os.close(number)
    return found


def steer(one: socket.socket, index: int) -> None:
    """Have the kernel give new connections (packets, of UDP) to the socket of this port that was opened `index`-th."""
    code = array.array("B", struct.pack("=HBBI", RETURN, 0, 0, index))
    program = struct.pack("@HP", 1, code.buffer_info()[0])
    with contextlib.suppress(OSError):  # a port without SO_REUSEPORT: there is only one slot
        one.setsockopt(socket.SOL_SOCKET, ATTACH_REUSEPORT_CBPF, program)


def delay_of(config: str) -> float:
    """For how long a Caddy with this configuration goes on before it closes its listeners."""
    try:
        with open(config, encoding="utf-8") as file:
            found = re.search(r"^\s*shutdown_delay\s+([0-9.]+)s\s*$", file.read(), re.MULTILINE)
    except OSError:
        found = None
    return float(found[1]) if found else 0.0


class Door:
    """Where a Caddy is asked now and then. `silent` is for how long the question that is open has had no answer.

    Only time in which this process itself ran is counted: a machine that was paused, or has no processor to spare, says
    nothing of Caddy. Until a door has answered once, nothing follows from its silence (a firewall may close it).
    """

    def __init__(self) -> None:
        self.silent = 0.0
        self.answered = False
        self._open: socket.socket | None = None
        self._again = 0.0
        self._looked = time.monotonic()

    def look(self, family: int, address: tuple[str, int] | str) -> None:
        """Ask when it is time, hear what there is to hear; never waits."""
        now = time.monotonic()
        passed, self._looked = min(now - self._looked, 1.5), now
        if self._open is None:
            if now < self._again:
                return
            self._open = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
            self._sent = False
            passed = 0.0
        self.silent += passed
        try:
            if not self._sent:
                with contextlib.suppress(BlockingIOError):  # a full queue of a unix socket, or one on its way
                    self._open.connect(address)
                self._open.send(b"GET /.deployd/health HTTP/1.0\r\nHost: localhost\r\n\r\n", socket.MSG_NOSIGNAL)
                self._sent = True
            self._open.recv(1)
        except OSError as error:
            if error.errno in {errno.EAGAIN, errno.ENOTCONN}:
                return  # not yet
            self.forget()  # nobody is there: what ended is started anew elsewhere
            return
        self.forget()
        self.answered = True

    def forget(self) -> None:
        """Begin with the next question."""
        if self._open:
            self._open.close()
        self._open, self.silent = None, 0.0
        self._again = time.monotonic() + ASK_EVERY


class Generation:
    """One Caddy: it starts, serves, and leaves."""

    def __init__(self, number: int, slot: Slot) -> None:
        self.number = number
        self.slot = slot
        self.folder = f"{RUN}/g{number}"
        self.delay = delay_of(CONFIG)
        self.started = time.monotonic()
        self.left: float | None = None
        self.ready = False
        self.hangs = False
        self._used = 0
        self._used_at = time.monotonic()
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        self.notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.folder}/notify")
        self.notices.bind(f"{self.folder}/notify")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LISTEN_", "NOTIFY_"))}
        self.pid = os.posix_spawn(
            PROGRAM,
            [PROGRAM, "run", "--adapter", "caddyfile", "--config", CONFIG],
            {**kept, "NOTIFY_SOCKET": f"{self.folder}/notify", "DEPLOYD_WEB_RUN": self.folder},
            file_actions=[(os.POSIX_SPAWN_DUP2, one.fileno(), FIRST_FD + at) for at, one in enumerate(slot.sockets)],
            setsigdef=[signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGPIPE],
            setsigmask=[],
        )

    def read_notices(self) -> None:
        """Hear whether it is ready."""
        with contextlib.suppress(BlockingIOError):
            while text := self.notices.recv(4096):
                self.ready = self.ready or b"READY=1" in text.split(b"\n")

    def leave(self) -> None:
        """Ask those who are connected to connect again, then end."""
        if self.left is None:
            self.left = time.monotonic()
            self.kill(signal.SIGTERM)

    def kill(self, number: int) -> None:
        """Send it a signal."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def idle(self) -> float:
        """For how long it has used no processor: not even what counts to a hundredth of a second or two."""
        now = time.monotonic()
        try:
            with open(f"/proc/{self.pid}/stat", "rb") as file:
                words = file.read().rpartition(b") ")[2].split()
            used = int(words[11]) + int(words[12])
        except (OSError, ValueError, IndexError):
            return 0.0
        if used > self._used + 2:
            self._used, self._used_at = used, now
        return now - self._used_at

    def closed(self) -> bool:
        """Whether it has let go of its slot's queues, though it may still answer what it has."""
        return self.left is not None and time.monotonic() > self.left + self.delay + 0.5

    def forget(self) -> None:
        """Tidy up after it."""
        self.notices.close()
        _remove(self.folder)


class Keeper:
    """The main process: which Caddies there are, and who waits for the next one."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.slots = slots
        self.alive: list[Generation] = []
        self.serving: Generation | None = None
        self.starting: Generation | None = None
        self.callers: list[socket.socket] = []  # who wait for `starting`
        self.later: list[socket.socket] = []  # who came while it started: files may have changed since
        self.asked = False
        self.number = 0
        self.failures = 0
        self.again_at: float | None = None
        self.ending: float | None = None
        self.parked = False
        self.doors = (Door(), Door())
        self.replaced = -TAKES_OVER_AGAIN
        self.alive_told = 0.0
        self.selector = selectors.DefaultSelector()
        self.watched: set[int] = set()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(LEAVING)
        for name in os.listdir(RUN):  # of those who were killed
            if re.fullmatch(r"g[0-9]+", name):
                _remove(f"{RUN}/{name}")
        self.signals = _signals()
        self.control = _listening(CONTROL)
        self.selector.register(self.signals, selectors.EVENT_READ, self._signalled)
        self.selector.register(self.control, selectors.EVENT_READ, self._called)

    def run(self) -> int:
        """Serve until SIGTERM; the exit code."""
        self.start(next((one for one in self.slots if one.waits()), self.slots[0]))
        while self.ending is None or self.alive:
            self._watch_empty_slots()
            for key, _ in self.selector.select(0.05 if self.ending or self.starting or len(self.alive) > 1 else 1.0):
                key.data()
            if self.starting is None and self.serving is None and self.again_at is None and self.number == 1:
                return 1  # the first one did not come up: systemd says so, and tries again
            self._on_time()
            self._look()
        return 0

    def start(self, slot: Slot) -> None:
        """Start a Caddy on a slot; what waits for one hears how it went."""
        self.number += 1
        self.again_at = None
        self.asked = False
        self.callers, self.later = [*self.callers, *self.later], []
        try:
            self.starting = Generation(self.number, slot)
        except OSError as error:
            self._failed(f"{PROGRAM} cannot be started: {error.strerror}")
            return
        self.alive.append(self.starting)
        self.selector.register(self.starting.notices, selectors.EVENT_READ, self._noticed)

    def _noticed(self) -> None:
        for one in self.alive:
            one.read_notices()
        if self.starting and self.starting.ready:
            self._serves(self.starting)

    def _serves(self, new: Generation) -> None:
        """The new one gets the visitors; the others leave."""
        self.starting, self.serving = None, new
        for one in new.slot.streams:
            steer(one, new.slot.number)
        self._show(new)
        for old in self.alive:
            if old is not new:
                old.leave()
        self._steer_quic()
        self._answer({"ok": True, "generation": new.number})
        self._tell(f"READY=1\nSTATUS=Caddy {new.number} serves from slot {new.slot.number}")
        if self.ending is not None:
            new.leave()
        self._start_next()

    def _failed(self, why: str) -> None:
        """The one that was being started is given up: the one before goes on."""
        self.starting = None
        self.failures += 1
        if self.serving:
            self.serving.hangs = False
        self._answer({"ok": False, "what": why})
        print(f"deployd-web: {why}; {'the one before goes on' if self.serving else 'none serves'}", file=sys.stderr)
        self._start_next()
        if self.ending is None and self._has_none() and self.number > 1:
            self.again_at = time.monotonic() + BACK_OFF[min(self.failures, len(BACK_OFF) - 1)]

    def _has_none(self) -> bool:
        return self.starting is None and self.serving is None

    def _free(self) -> Slot | None:
        """A slot for the next one, that nobody accepts from: rather one where visitors wait. None: soon.

        Who hangs accepts nothing: a successor on its slot answers those who wait there.
        """
        taken = {one.slot.number for one in self.alive if not one.closed() and not one.hangs}
        free = [slot for slot in self.slots if slot.number not in taken or len(self.slots) == 1]
        return next((slot for slot in free if slot.waits()), free[0] if free else None)

    def _start_next(self) -> None:
        """Start the one that somebody asked for, if a slot is free."""
        slot = self._free() if self.asked and self.starting is None and self.ending is None else None
        if slot:
            self.start(slot)

    def _steer_quic(self) -> None:
        """UDP is the oldest one's, until that is gone or has had its time."""
        now = time.monotonic()
        holds = [one for one in self.alive if one.left is None or now < one.left + one.delay + QUIC_WITHIN]
        holds = [one for one in holds if one is not self.starting and not one.hangs]
        if holds:
            for one in holds[0].slot.sockets:
                if one.type == socket.SOCK_DGRAM:
                    steer(one, holds[0].slot.number)

    def _show(self, new: Generation) -> None:
        """Its sockets by the names that everybody knows."""
        for name in os.listdir(new.folder):
            if name != "notify":
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{RUN}/.{name}")
                os.symlink(f"g{new.number}/{name}", f"{RUN}/.{name}")
                os.replace(f"{RUN}/.{name}", f"{RUN}/{name}")
        for name in os.listdir(RUN):
            path = f"{RUN}/{name}"
            if os.path.islink(path) and not os.path.lexists(os.path.realpath(path)):
                os.unlink(path)

    def _signalled(self) -> None:
        for number in set(self.signals.recv(4096)):
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGHUP:
                self._reload(None)
            else:
                self._end()

    def _reap(self) -> None:
        """Take note of Caddies that ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for one in [one for one in self.alive if one.pid == pid]:
                self._ended(one, os.waitstatus_to_exitcode(status))

    def _ended(self, one: Generation, code: int) -> None:
        self.alive.remove(one)
        self.selector.unregister(one.notices)
        one.forget()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        if one is self.starting:
            self._failed(f"the new Caddy ended with {how} before it was ready")
        elif one is self.serving:
            self.serving = None
            print(f"deployd-web: Caddy ended with {how}; visitors wait for the next one", file=sys.stderr)
            lasted = time.monotonic() - one.started
            self.failures = 0 if lasted > BACK_OFF[-1] else self.failures + 1
            if self.ending is None and self.starting is None:
                self.again_at = time.monotonic() + BACK_OFF[min(self.failures, len(BACK_OFF) - 1)]
        if self.serving:  # one of an earlier version takes its sockets' names away when it ends
            self._show(self.serving)
        self._steer_quic()

    def _called(self) -> None:
        """Somebody asks for something, in one line."""
        caller, _ = self.control.accept()
        caller.settimeout(2)
        try:
            asked = caller.recv(100)
        except OSError:
            asked = b""
        if asked == b"reload\n":
            self._reload(caller)
        else:
            caller.close()

    def _reload(self, caller: socket.socket | None) -> None:
        self.asked = True
        if caller:
            self.later.append(caller)
        if self.ending is not None:
            self.callers, self.later = [*self.callers, *self.later], []
            self._answer({"ok": False, "what": "the web server is about to end"})
        self._start_next()

    def _answer(self, told: Mapping[str, object]) -> None:
        for caller in self.callers:
            with contextlib.suppress(OSError):
                caller.sendall(json.dumps(told).encode() + b"\n")
            caller.close()
        self.callers = []

    def _end(self) -> None:
        if self.ending is None:
            self.ending = time.monotonic()
            self._tell("STOPPING=1")
            with open(LEAVING, "w", encoding="ascii"):
                pass  # a load balancer is told
            for one in self.alive:
                one.leave()

    def _on_time(self) -> None:
        """What is due."""
        now = time.monotonic()
        if self.starting and now > self.starting.started + READY_WITHIN:
            self.starting.kill(signal.SIGKILL)
        if self.again_at is not None and now >= self.again_at and self.ending is None and self.starting is None:
            self.start(next((one for one in self.slots if one.waits()), self._free() or self.slots[0]))
        self._start_next()
        self._steer_quic()
        self._kill_late()
        if now > self.alive_told + ASK_EVERY:
            self.alive_told = now
            self._tell("WATCHDOG=1")
        if self.ending is None:
            return
        last = self.serving.delay if self.serving else 0.0
        if self.serving and not self.parked and now > self.ending + last - EARLIER:
            self.parked = True
            aside = next((slot for slot in self.slots if slot is not self.serving.slot), self.serving.slot)
            for stream in aside.streams:
                steer(stream, aside.number)
        if now > self.ending + last + STOP_WITHIN:
            for one in self.alive:
                one.kill(signal.SIGKILL)

    def _kill_late(self) -> None:
        """End those that have had their time."""
        now = time.monotonic()
        for one in self.alive[: max(0, len(self.alive) - MOST)]:
            one.kill(signal.SIGKILL)
        for one in self.alive:
            if one.left is None:
                continue
            hangs = one.hangs and now > one.left + IDLE and one.idle() > IDLE
            if hangs or now > one.left + one.delay + LEAVE_WITHIN:
                one.kill(signal.SIGKILL)

    def _look(self) -> None:
        """Ask the one that serves whether it does; have another one take over when it says nothing."""
        one = self.serving
        if one is None or self.starting or self.ending is not None:
            for door in self.doors:
                door.forget()
            return
        port, own = self.doors
        name, number = one.slot.streams[0].getsockname()[:2]
        port.look(socket.AF_INET, ("127.0.0.1" if name == "::" or name.startswith("0.") else name, number))
        own.look(socket.AF_UNIX, f"{one.folder}/admin.sock")
        one.idle()
        nowhere = min(port.silent, own.silent) > SILENT and port.answered and own.answered
        if not nowhere and not (port.silent > DEAF and port.answered):
            return
        if time.monotonic() > self.replaced + TAKES_OVER_AGAIN:
            self.replaced = time.monotonic()
            one.hangs = nowhere
            print(f"deployd-web: Caddy has not answered for {port.silent:.0f} s; another one follows", file=sys.stderr)
            self._reload(None)

    def _watch_empty_slots(self) -> None:
        """Who waits at a slot that nobody serves gets a Caddy; not while all of it ends, or one is on its way."""
        served = {one.slot.number for one in self.alive if not one.closed()}
        idle = self.ending is None and self.starting is None and self.serving is not None
        wanted = {slot.number for slot in self.slots if idle and slot.number not in served}
        for slot in self.slots:
            for one in slot.streams:
                if slot.number in wanted and slot.number not in self.watched:
                    self.selector.register(one, selectors.EVENT_READ, self._waited_for)
                elif slot.number not in wanted and slot.number in self.watched:
                    self.selector.unregister(one)
        self.watched = wanted

    def _waited_for(self) -> None:
        slot = self._free() if self.starting is None and self.ending is None else None
        if slot:
            self.start(slot)

    def _tell(self, text: str) -> None:
        """Tell systemd."""
        path = os.environ.get("NOTIFY_SOCKET", "")
        if path:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one, contextlib.suppress(OSError):
                one.sendto(text.encode(), "\0" + path[1:] if path.startswith("@") else path)


def _remove(folder: str) -> None:
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            os.unlink(f"{folder}/{name}")
    with contextlib.suppress(OSError):
        os.rmdir(folder)


def _signals() -> socket.socket:
    """A socket that says which signals came, a byte each."""
    heard, told = socket.socketpair()
    for one in (heard, told):
        one.setblocking(False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(told.detach(), warn_on_full_buffer=False)
    return heard


def _listening(path: str) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    one.bind(path)
    os.umask(before)
    one.listen(16)
    return one


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
