"""Slots come in; one Caddy after another serves them, until SIGTERM."""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import socket
import sys
import time

import timing
from doors import Door
from generations import Generation
from places import CONTROL, LEAVING, PROGRAM, RUN, listening, remove
from slots import Slot, steer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


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
        self.replaced = -timing.TAKES_OVER_AGAIN
        self.alive_told = 0.0
        self.selector = selectors.DefaultSelector()
        self.watched: set[int] = set()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(LEAVING)
        for name in os.listdir(RUN):  # of those who were killed
            if re.fullmatch(r"g[0-9]+", name):
                remove(f"{RUN}/{name}")
        self.signals = _signals()
        self.control = listening(CONTROL)
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
            self.again_at = time.monotonic() + timing.BACK_OFF[min(self.failures, len(timing.BACK_OFF) - 1)]

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
        holds = [one for one in self.alive if one.left is None or now < one.left + one.delay + timing.QUIC_WITHIN]
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
            self.failures = 0 if lasted > timing.BACK_OFF[-1] else self.failures + 1
            if self.ending is None and self.starting is None:
                self.again_at = time.monotonic() + timing.BACK_OFF[min(self.failures, len(timing.BACK_OFF) - 1)]
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
        if self.starting and now > self.starting.started + timing.READY_WITHIN:
            self.starting.kill(signal.SIGKILL)
        if self.again_at is not None and now >= self.again_at and self.ending is None and self.starting is None:
            self.start(next((one for one in self.slots if one.waits()), self._free() or self.slots[0]))
        self._start_next()
        self._steer_quic()
        self._kill_late()
        if now > self.alive_told + timing.ASK_EVERY:
            self.alive_told = now
            self._tell("WATCHDOG=1")
        if self.ending is None:
            return
        last = self.serving.delay if self.serving else 0.0
        if self.serving and not self.parked and now > self.ending + last - timing.EARLIER:
            self.parked = True
            aside = next((slot for slot in self.slots if slot is not self.serving.slot), self.serving.slot)
            for stream in aside.streams:
                steer(stream, aside.number)
        if now > self.ending + last + timing.STOP_WITHIN:
            for one in self.alive:
                one.kill(signal.SIGKILL)

    def _kill_late(self) -> None:
        """End those that have had their time."""
        now = time.monotonic()
        for one in self.alive[: max(0, len(self.alive) - timing.MOST)]:
            one.kill(signal.SIGKILL)
        for one in self.alive:
            if one.left is None:
                continue
            hangs = one.hangs and now > one.left + timing.IDLE and one.idle() > timing.IDLE
            if hangs or now > one.left + one.delay + timing.LEAVE_WITHIN:
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
        nowhere = min(port.silent, own.silent) > timing.SILENT and port.answered and own.answered
        if not nowhere and not (port.silent > timing.DEAF and port.answered):
            return
        if time.monotonic() > self.replaced + timing.TAKES_OVER_AGAIN:
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


def _signals() -> socket.socket:
    """A socket that says which signals came, a byte each."""
    heard, told = socket.socketpair()
    for one in (heard, told):
        one.setblocking(False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(told.detach(), warn_on_full_buffer=False)
    return heard
