"""Calls come in, a forge's answers go out: over https with the app's token, or the one for all apps."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployd.daemon.background import GiveUpError, LaterError
from deployd.daemon.forges import calls

if TYPE_CHECKING:
    import httpx

    from deployd.daemon.forges.calls import Call
    from deployd.domain.secret import Secret
    from deployd.store import Store

_SECONDS = 10.0
_BUSY = frozenset({408, 409, 425, 429})
_FORBIDDEN = 403
_REFUSED = 400
_BROKEN = 500
_GONE = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """A forge that we have a token for; `address` is its API's."""

    forge: str
    address: str
    token: Secret = field(repr=False)

    def say(self, call: Call) -> dict[str, Any] | None:
        """Make a call; None when what it names is not there. A list comes in `items`.

        Raises GiveUpError when it is refused, LaterError when the forge says when to come back, and anything else when
        it may be tried again.
        """
        import httpx

        answer = httpx.request(
            call.method,
            f"{self.address.rstrip('/')}/{call.path}",
            json=None if call.body is None else dict(call.body),
            headers=calls.headers(self.forge, self.token.reveal()),
            timeout=_SECONDS,
            follow_redirects=False,  # a token goes to nobody else
        )
        if answer.status_code == _GONE:
            return None
        if answer.status_code >= _BROKEN or answer.status_code in _BUSY or _is_limit(answer):
            msg = f"{self.forge} answered {answer.status_code}"
            raise LaterError(msg, _pause(answer))
        if answer.status_code >= _REFUSED or answer.is_redirect:
            msg = f"{self.forge} answered {answer.status_code} to {call.method} {call.path}"
            raise GiveUpError(msg)
        found = answer.json() if answer.content else {}
        return found if isinstance(found, dict) else {"items": found if isinstance(found, list) else []}


def _is_limit(answer: httpx.Response) -> bool:
    """GitHub says 403 too when it was asked too often."""
    return answer.status_code == _FORBIDDEN and (
        "retry-after" in answer.headers or answer.headers.get("x-ratelimit-remaining") == "0"
    )


def _pause(answer: httpx.Response) -> float:
    """Seconds until the forge wants to be asked again; 0 when it does not say."""
    given = answer.headers.get("retry-after", "")
    if given.isascii() and given.isdigit():
        return float(given[:6])
    until = answer.headers.get("x-ratelimit-reset", "")
    if answer.headers.get("x-ratelimit-remaining") == "0" and until.isascii() and until.isdigit():
        return max(float(until[:12]) - time.time(), 0.0)
    return 0.0


def speaker(store: Store, app: str, forge: str) -> Speaker | None:
    """Who may speak to the forge for an app; None when no token is configured."""
    for owner in (app, ""):
        kept = store.secrets.find("forge", app=owner, name=forge)
        token = store.secrets.reveal("forge", app=owner, name=forge) if kept else None
        if kept is not None and token is not None:
            address = kept.extra.get("url") or calls.ADDRESSES.get(forge)
            return Speaker(forge=forge, address=str(address), token=token) if address else None
    return None
