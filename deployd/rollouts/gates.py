"""Who may release now: an app and environment come in, and out goes why not. Freezes stop releases, never rollbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.errors import NotAllowedError

if TYPE_CHECKING:
    from deployd.domain.ids import AppName, EnvironmentName
    from deployd.store import Store


def why_frozen(store: Store, app: AppName, environment: EnvironmentName) -> str | None:
    """The freeze in force, for people; None when there is none."""
    freeze = next(iter(store.freezes.active(app, environment)), None)
    if freeze is None:
        return None
    reason = f" ({freeze.reason})" if freeze.reason else ""
    return f"frozen until {freeze.until} by {freeze.who}{reason}"


def refuse_frozen(store: Store, app: AppName, environment: EnvironmentName, *, during_freeze: bool) -> None:
    """Raise NotAllowedError for a release into a frozen environment, unless it is meant to be one."""
    why = None if during_freeze else why_frozen(store, app, environment)
    if why:
        raise NotAllowedError(
            f"{app} {environment} is {why}",
            code="frozen",
            live="unchanged",
            fix="wait, end it with `deployd unfreeze`, or release all the same with --during-freeze",
        )
