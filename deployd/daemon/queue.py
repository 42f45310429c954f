"""The dispatcher: asks that wait come in, rollouts go out, each in a thread of its own.

One rollout at a time for each app and environment, others side by side up to a limit. A rollback waits for nothing: it
tells what runs to turn back and takes over. What dead processes left is settled first, place by place.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from deployd import logs
from deployd.daemon import holding, others, resolving
from deployd.daemon.fetching import Fetches
from deployd.daemon.hub import Told
from deployd.daemon.others import Others
from deployd.domain.events import Event
from deployd.domain.ids import AppName, EnvironmentName, RolloutId
from deployd.errors import BusyError, CancelledError, DeploydError
from deployd.rollouts import perform, settle, values
from deployd.rollouts.closing import outcome_of
from deployd.rollouts.wishes import RollbackWish, RolloutResult, wish_from_json, wish_to_json
from deployd.store.moments import now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deployd.daemon.hub import Hub
    from deployd.daemon.metrics import Metrics
    from deployd.domain.daemon import QueuedAsk
    from deployd.rollouts.wishes import Wish
    from deployd.rollouts.workshop import Workshop
    from deployd.store import Store

Place = tuple[AppName, EnvironmentName]

LOOK_EVERY = 5.0
"""Seconds between two looks at the queue when nobody wakes the dispatcher (an `unpin` of a second terminal)."""
LONGEST = 7200.0
"""Seconds that a rollout may take when neither it nor the settings say how long."""
_APART = 0.05  # seconds between two looks in a burst
_BURST = 10.0  # seconds that a burst of deliveries may keep the dispatcher from looking
_SHARE = 3.0  # so many times as long as a look took, nothing is looked at: with a thousand that wait, each is long
_FEW = 20  # pushes to be resolved: with more, the dispatcher waits between its looks
_RESOLVING = 12
_OF_ONE = 4  # of them of one repository: one that does not answer holds up no push to another


@dataclass(slots=True)
class Running:
    """One rollout of this process."""

    id: RolloutId
    place: Place
    kind: str
    cancel: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    since: float = field(default_factory=time.monotonic)


class Dispatcher:
    """Takes asks out of the queue. `wake` and `cancel` may be called from any thread."""

    def __init__(
        self, *, store: Store, workshop: Workshop, hub: Hub, metrics: Metrics, settings: Mapping[str, Any]
    ) -> None:
        self.gates: list[Callable[[QueuedAsk], str | None]] = []
        """Each says why an automatic ask must still wait (a freeze), or None."""
        self.busy: Callable[[], bool] = lambda: False
        """Whether so many deliveries come in that looking at the queue should wait a little."""
        self.beat = time.monotonic()
        self._store = store
        self._workshop = workshop
        self._hub = hub
        self._metrics = metrics
        self._settings = settings
        self._lock = threading.Lock()
        self._running: dict[RolloutId, Running] = {}
        self._resolving: dict[RolloutId, tuple[str | None, threading.Event]] = {}  # with the repository
        self._seen: dict[RolloutId, float] = {}  # pushes to be resolved, and since when we know of them
        self._fetches = Fetches()
        self._woken = threading.Event()
        self._urgent = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._others = Others(store, workshop)
        self._owner: str | None = None
        self._log = logs.logger("dispatcher")

    # life

    def start(self) -> None:
        """Settle the past, and begin."""
        self._owner = self._others.own_name()
        self._recover()
        self._thread = threading.Thread(target=self._loop, daemon=True, name="dispatcher")
        self._thread.start()

    def stop(self, *, grace: float, hurry: threading.Event) -> tuple[RolloutId, ...]:
        """Begin nothing more, and wait `grace` seconds (or for `hurry`); returns what is not at its end then."""
        self._stopping.set()
        self._woken.set()
        deadline = time.monotonic() + grace
        while self.running() and time.monotonic() < deadline:
            if hurry.wait(_APART):
                break
        return tuple(one.id for one in self.running())

    def wake(self, *, urgent: bool = False) -> None:
        """Something may have changed: look at the queue; `urgent` does not wait for the end of a burst."""
        if urgent:
            self._urgent.set()
        self._woken.set()

    def running(self) -> tuple[Running, ...]:
        """What runs in this process."""
        with self._lock:
            return tuple(self._running.values())

    def cancel(self, rollout: RolloutId, *, who: str) -> bool:
        """Take an ask out of the queue, or tell its rollout to turn back; False when it is at its end."""
        error = CancelledError(f"the rollout was cancelled by {who}", fix="release again when you are ready")
        if self._store.queue.finish(rollout, outcome="cancelled", error=values.error_to_json(error), only="waiting"):
            self._tell_end(rollout, "cancelled")
            return True
        asked = self._store.rollouts.ask_to_stop(rollout, who=who)
        with self._lock:
            running = self._running.get(rollout)
        kept = None if asked else self._store.queue.find(rollout)  # a command without a daemon leaves no ask
        if kept is not None and kept.state == "running":
            # it is no rollout yet: its repository is being fetched, here or by another daemon
            if running:
                running.cancel.set()
            asked = self._store.queue.ask_to_stop(rollout, who=who)
        return asked

    # the queue

    def _loop(self) -> None:
        while not self._stopping.is_set():
            self._woken.wait(others.LOOK_EVERY if self._others.shared else LOOK_EVERY)
            self._woken.clear()
            self.beat = time.monotonic()
            while self.busy() and time.monotonic() - self.beat < _BURST and not self._stopping.is_set():
                if self._urgent.wait(_APART):
                    break
            began = time.monotonic()
            try:
                if self._others.is_due():
                    self._recover()
                self._look()
            except Exception:  # noqa: BLE001 - a full disk must not end the dispatcher
                self._log.exception("dispatcher_failed")
            self._urgent.wait(min(max(_APART, _SHARE * (time.monotonic() - began)), LOOK_EVERY))
            self._urgent.clear()

    def _look(self) -> None:
        taken: set[Place] = set()
        repositories: dict[AppName, str] = {}
        waiting = self._store.queue.waiting()
        still = {queued.id for queued in waiting}
        for gone in set(self._seen) - still:
            self._seen.pop(gone, None)  # replaced by a newer push
        with self._lock:
            for gone in set(self._resolving) - still:  # nobody wants to know any more: its fetch may take minutes
                self._resolving[gone][1].set()
        for queued in waiting:
            if self._stopping.is_set():
                return
            if not queued.ask.environment:
                self._seen.setdefault(queued.id, time.monotonic())
                repositories = repositories or {one.name: one.repository for one in self._store.apps.all()}
                self._resolve(queued, repositories.get(queued.ask.app))
                continue
            place = (queued.ask.app, queued.ask.environment)
            reason = self._why_not(queued, place, taken)
            if reason is None:
                self._take(queued, place)
            else:
                if not queued.ask.automatic:
                    taken.add(place)  # what is held by a pin does not hold up what a person asks for later
                if reason != queued.reason:
                    self._store.queue.hold(queued.id, reason)

    def _take(self, queued: QueuedAsk, place: Place) -> None:
        """Begin what need not wait any more, unless a person brought something else live meanwhile."""
        if newer := holding.overtaken_by(self._store, queued):
            reason = f"{newer} was asked for later, and went live"
            if self._store.queue.finish(queued.id, outcome="superseded", reason=reason, only="waiting"):
                self._tell_end(queued.id, "superseded", what=reason)
            return
        alone = self._others.shared and queued.ask.kind != "rollback"
        if self._store.queue.start(queued.id, owner=self._owner, alone=alone):
            self._begin(queued, place)

    def _why_not(self, queued: QueuedAsk, place: Place, taken: set[Place]) -> str | None:
        """Why an ask must wait, or None."""
        running = self.running()
        here = [one for one in running if one.place == place]
        if queued.ask.kind == "rollback":
            return None
        if here or place in taken:
            return f"rollout {here[0].id} runs" if here else "an earlier one waits"
        if elsewhere := self._others.why_not(place, [one.id for one in running]):
            return elsewhere
        if queued.ask.automatic:
            held = holding.why(self._store, queued, self.gates)
            if held:
                return held
        limit = int(self._settings.get("rollouts") or 4)
        full = sum(one.kind != "rollback" for one in running) >= limit
        return f"{limit} rollouts run, as many as may" if full else None

    def _resolve(self, queued: QueuedAsk, repository: str | None) -> None:
        """Find the environments of a push's branch, in a thread: a fetch takes a while."""
        with self._lock:
            of_it = sum(other == repository for other, _ in self._resolving.values())
            if queued.id in self._resolving or len(self._resolving) >= _RESOLVING or of_it >= _OF_ONE:
                return
            _, cancel = self._resolving[queued.id] = (repository, threading.Event())
        threading.Thread(target=self._find_places, args=(queued, cancel), daemon=True, name="resolve").start()

    def _find_places(self, queued: QueuedAsk, cancel: threading.Event) -> None:
        store, ask = self._store, queued.ask
        try:
            seen = self._seen.get(queued.id, time.monotonic())
            places, reason = resolving.places_of(
                ask, store=store, paths=self._workshop.paths, cancel=cancel, fetches=self._fetches, asked=seen
            )
            if cancel.is_set():
                return  # it was replaced or cancelled meanwhile, and has its end
            for number, place in enumerate(places):
                if number == 0:
                    store.queue.place(queued.id, place.environment, place)
                else:
                    store.queue.add(replace(place, key=f"{queued.id}:{place.environment}"))
            if not places:
                store.queue.finish(queued.id, outcome="ignored", reason=reason, only="waiting")
                self._tell_end(queued.id, "ignored")
        except DeploydError as error:
            if not cancel.is_set():
                self._fail(queued, error)
        except Exception as error:  # noqa: BLE001 - an ask is never left without an end
            self._fail(queued, _internal(error))
        finally:
            self._seen.pop(queued.id, None)
            with self._lock:
                self._resolving.pop(queued.id, None)
            self.wake(urgent=len(self._seen) < _FEW)

    # rollouts

    def _begin(self, queued: QueuedAsk, place: Place) -> None:
        running = Running(queued.id, place, queued.ask.kind)
        running.thread = threading.Thread(
            target=self._run, args=(queued, running), daemon=True, name=f"rollout {queued.id}"
        )
        with self._lock:
            self._running[queued.id] = running
        running.thread.start()

    def _run(self, queued: QueuedAsk, running: Running) -> None:
        log = self._log.bind(rollout=queued.id, kind=queued.ask.kind, app=queued.ask.app)
        try:
            log.info("rollout_began", environment=queued.ask.environment, who=queued.ask.who, cause=queued.ask.cause)
            result = self._perform(queued, running)
            self._store.queue.finish(queued.id, outcome=result.outcome)
            self._count(queued, result.outcome, running)
            log.info("rollout_ended", outcome=result.outcome, release=result.release, seconds=result.duration_s)
        except DeploydError as error:
            if self._may_wait(queued, error):
                log.info("rollout_waits", what=error.what)
                return
            log.warning("rollout_failed", code=error.code, what=error.what, host=error.host)
            self._fail(queued, error)
            self._count(queued, outcome_of(error), running)
        except Exception as error:
            log.exception("rollout_broke")
            self._fail(queued, _internal(error))
            self._count(queued, "failed", running)
        finally:
            self._hub.end(queued.id)
            with self._lock:
                self._running.pop(queued.id, None)
            self.wake()

    def _may_wait(self, queued: QueuedAsk, error: DeploydError) -> bool:
        """Somebody on the same database was faster, and nothing was begun: it waits again."""
        place = (queued.ask.app, queued.ask.environment)
        if not (self._others.shared and isinstance(error, BusyError)) or queued.ask.kind == "rollback":
            return False
        if self._is_rollout(queued.id):
            return False
        self._others.held(place)
        return self._store.queue.put_back(queued.id)

    def _perform(self, queued: QueuedAsk, running: Running) -> RolloutResult:
        ask = queued.ask
        wish = wish_from_json(queued.wish) if queued.wish else self._wish(ask, running)
        if by := self._store.queue.cancelled_by(queued.id):
            raise CancelledError(f"the rollout was cancelled by {by}", fix="release again when you are ready")
        workshop = self._workshop.view(who=ask.who, command=f"deployd {ask.kind} ({ask.app} {ask.environment})")
        report = self._hub.report(queued.id)
        if isinstance(wish, RollbackWish):
            return perform.rollback(workshop, wish, report=report, cancel=running.cancel, rollout=queued.id)
        if wish.timeout is None:  # here nobody sits before it and presses Ctrl-C
            wish = replace(wish, timeout=self._settings.get("timeout") or LONGEST)
        return perform.release(workshop, wish, report=report, cancel=running.cancel, rollout=queued.id)

    def _wish(self, ask: Any, running: Running) -> Wish:
        wish = resolving.wish_of(
            ask,
            store=self._store,
            paths=self._workshop.paths,
            timeout=self._settings.get("timeout"),
            cancel=running.cancel,
            preview_domain=self._settings.get("preview_domain"),
        )
        self._store.queue.keep_wish(running.id, wish_to_json(wish))
        return wish

    def _fail(self, queued: QueuedAsk, error: DeploydError) -> None:
        outcome = outcome_of(error)
        self._store.queue.finish(queued.id, outcome=outcome, reason=error.what, error=values.error_to_json(error))
        if not self._is_rollout(queued.id):
            self._tell_end(queued.id, outcome, what=error.what)

    def _tell_end(self, rollout: RolloutId, outcome: str, *, what: str | None = None) -> None:
        """The last event of an ask that never became a rollout."""
        fields = {
            "rollout": str(rollout),
            "seq": 1,
            "time": now(),
            "release": None,
            "outcome": outcome,
            "previous": None,
            "duration_s": 0.0,
            "flip_s": None,
            "hosts": [],
            "what": what,
        }
        self._hub.tell(Told(rollout=rollout, event=str(Event.ROLLOUT_FINISHED), fields=fields))
        self._hub.end(rollout)

    def _count(self, queued: QueuedAsk, outcome: str, running: Running) -> None:
        ask = queued.ask
        self._metrics.rollouts.labels(ask.kind, ask.app, ask.environment, outcome).inc()
        self._metrics.duration.labels(ask.kind).observe(time.monotonic() - running.since)

    # the past

    def _recover(self) -> None:
        """What dead processes left: asks go back into the queue, rollouts are settled, each place by itself."""
        for place, first in self._others.left({one.place for one in self.running()}):
            running = Running(first, place, "release")
            running.thread = threading.Thread(target=self._settle, args=(running,), daemon=True, name="settle")
            with self._lock:
                self._running[first] = running
            running.thread.start()

    def _settle(self, running: Running) -> None:
        app, environment = running.place
        left = self._store.rollouts.unfinished(app, environment)
        try:
            workshop = self._workshop.view(who="deployd", command="deployd serve (settling what was interrupted)")
            settle.resume(
                workshop,
                report=self._hub.report(running.id),
                cancel=running.cancel,
                app=app,
                environment=environment,
            )
        except Exception:  # noqa: BLE001 - the daemon goes on; `deployd rollouts` shows what is left
            self._log.exception("settling_failed", app=app, environment=environment)
        finally:
            for record in left:
                self._close_ask(record.id)
                self._hub.end(record.id)
            with self._lock:
                self._running.pop(running.id, None)
            self.wake()

    def _close_ask(self, rollout: RolloutId) -> None:
        record = self._store.rollouts.get(rollout)
        if record.outcome is not None:
            self._store.queue.finish(rollout, outcome=record.outcome, error=record.error, only="running")

    def _is_rollout(self, rollout: RolloutId) -> bool:
        return self._store.rollouts.find(rollout) is not None


def _internal(error: Exception) -> DeploydError:
    return DeploydError(
        f"deployd itself failed: {type(error).__name__}: {error}",
        code="internal",
        fix="this is a bug: report it with the daemon's log of that moment",
    )
