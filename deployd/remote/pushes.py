"""Webhooks, forges, notifications, SSH keys and previews, over the daemon's API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployd.domain.ids import RolloutId

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.domain.ids import AppName
    from deployd.domain.secret import Secret
    from deployd.remote.connection import Connection

    Json = dict[str, Any]


class RemotePushes:
    """What pushes need, asked of a daemon."""

    def __init__(self, link: Connection) -> None:
        self._link = link

    def hook(self, app: AppName, *, rotate: bool, secret: Secret | None = None) -> Json:
        """Where deliveries go; `secret` is there when it was made now. The argument is one that the forge made."""
        body = {"rotate": rotate, "secret": secret.reveal() if secret else None}
        return dict(self._link.call("POST", f"/v1/apps/{app}/hook", body))

    def deliveries(self, app: AppName, *, limit: int) -> list[Json]:
        """What forges sent."""
        return list(self._link.call("GET", f"/v1/apps/{app}/deliveries", limit=limit)["deliveries"])

    def forges(self) -> list[Json]:
        """Forges that there is a token for."""
        return list(self._link.call("GET", "/v1/forges")["forges"])

    def set_forge(self, forge: str, token: Secret, *, url: str | None, app: AppName | None) -> None:
        """Keep a token."""
        self._link.call("PUT", f"/v1/forges/{forge}", {"token": token.reveal(), "url": url, "app": app})

    def remove_forge(self, forge: str, *, app: AppName | None) -> None:
        """Forget a token."""
        self._link.call("DELETE", f"/v1/forges/{forge}", app=app)

    def targets(self) -> list[Json]:
        """Who is told."""
        return list(self._link.call("GET", "/v1/notify")["targets"])

    def add_target(self, name: str, address: Secret, *, app: AppName | None, events: Sequence[str]) -> Json:
        """Tell a service."""
        body = {"address": address.reveal(), "app": app, "events": list(events)}
        return dict(self._link.call("PUT", f"/v1/notify/{name}", body))

    def remove_target(self, name: str, *, app: AppName | None) -> None:
        """Tell it no more."""
        self._link.call("DELETE", f"/v1/notify/{name}", app=app)

    def try_target(self, name: str, *, app: AppName | None) -> bool:
        """Send a message now."""
        return bool(self._link.call("POST", f"/v1/notify/{name}/test", app=app)["sent"])

    def git_keys(self) -> list[Json]:
        """SSH keys that may push."""
        return list(self._link.call("GET", "/v1/keys")["keys"])

    def add_key(self, name: str, line: str, *, apps: Sequence[AppName]) -> Json:
        """Let a key push."""
        return dict(self._link.call("PUT", f"/v1/keys/{name}", {"line": line, "apps": list(apps)}))

    def remove_key(self, name: str) -> None:
        """Let it push no more."""
        self._link.call("DELETE", f"/v1/keys/{name}")

    def push(self, app: AppName, *, name: str, tag: bool, commit: str, before: str | None, who: str) -> RolloutId:
        """Ask for what a pushed branch (or tag) releases."""
        body = {"branch": name, "tag": tag, "commit": commit, "before": before, "who": who}
        return RolloutId(self._link.call("POST", f"/v1/apps/{app}/pushes", body)["rollout"])

    def pushed(self, app: AppName, rollout: RolloutId) -> list[Json]:
        """The rollouts of a push."""
        return list(self._link.call("GET", f"/v1/apps/{app}/pushes/{rollout}")["rollouts"])

    def previews(self, app: AppName | None) -> list[Json]:
        """Pull requests and their previews."""
        return list(self._link.call("GET", "/v1/previews", app=app)["previews"])

    def approve_preview(self, app: AppName, number: int) -> RolloutId:
        """Build a fork's pull request."""
        return RolloutId(self._link.call("POST", f"/v1/apps/{app}/previews/{number}/approve")["rollout"])

    def remove_preview(self, app: AppName, number: int) -> None:
        """Remove a preview."""
        self._link.call("DELETE", f"/v1/apps/{app}/previews/{number}")
