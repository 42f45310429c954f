"""Notifications by apprise (mail, Slack, Discord and many more): a rollout's end comes in, a short message goes out.

The services' addresses hold passwords: they are secrets, and no log line of ours or of apprise's tells one.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from deployd.errors import UsageError

if TYPE_CHECKING:
    from apprise import NotifyBase

    from deployd.domain.secret import Secret

Moment = Literal["started", "waiting", "live", "failed", "rolled_back"]
MOMENTS: tuple[Moment, ...] = ("started", "waiting", "live", "failed", "rolled_back")
_KINDS = {"started": "info", "waiting": "warning", "live": "success", "failed": "failure", "rolled_back": "warning"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What is told: a title, a few lines, a link."""

    moment: Moment
    title: str
    lines: tuple[str, ...] = ()
    link: str | None = None

    @property
    def body(self) -> str:
        """The lines, and the link in the last one."""
        return "\n".join([*self.lines, *([self.link] if self.link else [])]) or self.title


def check(address: Secret) -> str:
    """The name of the service that an apprise address is of; raises UsageError."""
    plugin = _plugin(address)
    name = getattr(plugin, "service_name", None)
    return str(name or "service")


def send(address: Secret, note: Note) -> bool:
    """Tell one service; False when it refused or did not answer. May take as long as the service does."""
    import apprise

    target = apprise.Apprise()
    target.add(_plugin(address))
    return bool(target.notify(title=note.title, body=note.body, notify_type=_KINDS[note.moment]))


def _plugin(address: Secret) -> NotifyBase:
    import apprise

    logging.getLogger("apprise").disabled = True  # its lines may hold an address
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of modules that its plugins import
            plugin = apprise.Apprise.instantiate(address.reveal(), suppress_exceptions=False)
    except Exception:  # noqa: BLE001 - its text holds the address
        plugin = None
    if plugin is None:
        raise UsageError(
            "this is no address that notifications can go to",
            code="notify-address",
            fix="give one as apprise has them: slack://..., discord://..., mailtos://user:password@example.com",
        )
    return plugin
