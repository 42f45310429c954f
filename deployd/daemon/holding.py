"""An automatic ask that waits comes in; why a pin holds it, or what was brought live in its place, goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from deployd.domain.daemon import QueuedAsk
    from deployd.domain.ids import RolloutId
    from deployd.store import Store

_LOOKED_AT = 50  # releases


def why(store: Store, queued: QueuedAsk, gates: Iterable[Callable[[QueuedAsk], str | None]]) -> str | None:
    """Why it must still wait: a pin, or what one of the gates says (a freeze); None when nothing holds it."""
    return by_pin(store, queued) or next(filter(None, (gate(queued) for gate in gates)), None)


def by_pin(store: Store, queued: QueuedAsk) -> str | None:
    """Why a pin holds it, or None. A commit that is pushed after a rollback ends the pause that the rollback began;
    one that waited already was pushed by somebody who did not know of it.
    """
    ask = queued.ask
    pin = store.pins.get(ask.app, ask.environment)
    if pin is None:
        return None
    later = ""
    if pin.automatic and ask.commit is not None:
        if queued.created <= pin.at:
            later = " after this was asked for"
        elif ask.commit not in {one.commit for one in store.releases.of(ask.app, ask.environment, limit=_LOOKED_AT)}:
            store.pins.remove(ask.app, ask.environment)
            return None
    return f"pinned by {pin.who}{later}: `deployd unpin` lets it go on"


def overtaken_by(store: Store, queued: QueuedAsk) -> RolloutId | None:
    """What a person asked for later and is live: a push that a freeze or a pin held until now is older than that."""
    if not queued.ask.automatic or queued.ask.cause != "push":
        return None
    return store.queue.live_since(queued)
