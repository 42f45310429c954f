"""A rollout's id comes in, the address of its page for those who have no token goes out (the page: api/showing.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deployd.daemon.wiring import Daemon
    from deployd.store.keyring import Keyring


def page(daemon: Daemon, rollout: str) -> str | None:
    """The page's address with its key; None as long as the daemon does not know its own address."""
    base = daemon.settings.get("public_url")
    return f"{str(base).rstrip('/')}/rollouts/{rollout}?key={key(daemon.store.keyring, rollout)}" if base else None


def key(keyring: Keyring, rollout: str) -> str:
    """What opens the page of this rollout, and of no other."""
    return keyring.sign(f"page|{rollout}")
