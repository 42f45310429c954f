"""The client when a daemon owns the state folder: wishes go to it, and its events and results come back.

Everything goes over the API. What a person does by hand is in hands.py; what a daemon of another user cannot read of
ours (a checkout, an artifact file) is brought to it first (bringing.py).
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from deployd.domain.ids import RolloutId
from deployd.errors import CancelledError, DeploydError, NotAllowedError, SupersededError, UnreachableError, UsageError
from deployd.remote import values
from deployd.remote.bringing import brought, commit_of
from deployd.remote.connection import COMES_BACK, Connection, Daemon
from deployd.remote.hands import teller
from deployd.remote.kept import RemoteKept
from deployd.rollouts.values import error_from_json
from deployd.rollouts.wishes import ActivateWish, PromoteWish, ReleaseWish, RollbackWish, RolloutResult, wish_to_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.domain.daemon import AuditEntry, RegisteredApp, Token
    from deployd.domain.events import Report
    from deployd.domain.ids import AppName, EnvironmentName
    from deployd.paths import StatePaths
    from deployd.remote.agenda import RemoteAgenda
    from deployd.remote.doors import RemoteDoors
    from deployd.remote.pushes import RemotePushes
    from deployd.remote.servers import RemoteServers
    from deployd.remote.traffic import RemoteTraffic
    from deployd.rollouts.wishes import Wish
    from deployd.store import Store

_BROKEN = (OSError, http.client.HTTPException)
_SHUT_OUT = "token-invalid"


class RemoteClient(RemoteKept):
    """A `Client` that asks a daemon. `narrowed`: the person chose some hosts, which only a daemon of here can take."""

    def __init__(
        self, daemon: Daemon, paths: StatePaths, *, who: str, command: str | None = None, narrowed: bool = False
    ) -> None:
        super().__init__(paths, who=who, command=command)
        self.daemon = daemon
        self._narrowed = narrowed
        self._link = Connection(daemon)

        self.is_local = daemon.socket is not None

    @property
    def store(self) -> Store:
        """The daemon's own store, for what has no route; raises NotAllowedError elsewhere."""
        root = self.paths.root
        ours = self.daemon.socket == self.paths.socket and root.exists() and root.stat().st_uid == os.geteuid()
        if not ours:
            raise NotAllowedError(
                "this is done on the daemon's machine, as the daemon's user",
                code="daemon-only-there",
                live="unchanged",
                fix="log in there: sudo -u deployd deployd ... (with --state-dir, when it is not the usual one)",
            )
        return super().store

    def close(self) -> None:
        """Close the connection too."""
        self._link.close()
        super().close()

    # rollouts

    def ask(self, wish: Wish) -> RolloutId:
        """Put a wish into the daemon's queue; returns the rollout's id at once."""
        if self.is_local:
            reply = self._link.call("POST", "/v1/wishes", {"wish": wish_to_json(brought(wish, self._link))})
        else:
            noun, body = self._for_elsewhere(wish)
            reply = self._link.call("POST", f"/v1/{noun}", {name: one for name, one in body.items() if one is not None})
        return RolloutId(reply["rollout"])

    def release(self, wish: ReleaseWish, *, report: Report, cancel: threading.Event) -> RolloutResult:
        """Bring a commit live."""
        return self.attend(self.ask(wish), report=report, cancel=cancel)

    def promote(self, wish: PromoteWish, *, report: Report, cancel: threading.Event) -> RolloutResult:
        """Bring the artifact of a release live in another environment."""
        return self.attend(self.ask(wish), report=report, cancel=cancel)

    def rollback(self, wish: RollbackWish, *, report: Report, cancel: threading.Event) -> RolloutResult:
        """Go back."""
        return self.attend(self.ask(wish), report=report, cancel=cancel)

    def activate(
        self, wish: ActivateWish, *, report: Report, cancel: threading.Event, rollout: RolloutId | None = None
    ) -> RolloutResult:
        """Bring a release live that is prepared already."""
        del rollout
        return self.attend(self.ask(wish), report=report, cancel=cancel)

    @property
    def servers(self) -> RemoteServers:
        """The servers as the daemon's key reaches them."""
        from deployd.remote.servers import RemoteServers

        return RemoteServers(self, self._link)

    @property
    def traffic(self) -> RemoteTraffic:
        """What visitors asked for."""
        from deployd.remote.traffic import RemoteTraffic

        return RemoteTraffic(self._pool, self._link)

    @property
    def doors(self) -> RemoteDoors:
        """Who is let in: maintenance, and links to previews."""
        from deployd.remote.doors import RemoteDoors

        return RemoteDoors(self._pool, self.paths.root, self._link)

    @property
    def agenda(self) -> RemoteAgenda:
        """Schedules, freezes, approvals and confirmations."""
        from deployd.remote.agenda import RemoteAgenda

        return RemoteAgenda(self, self._link)

    @property
    def pushes(self) -> RemotePushes:
        """Webhooks, forges, notifications, keys and previews."""
        from deployd.remote.pushes import RemotePushes

        return RemotePushes(self._link)

    def resume(self, *, report: Report, cancel: threading.Event) -> list[RolloutResult]:
        """Nothing: the daemon has settled what was interrupted when it started."""
        del report, cancel
        return []

    def follow(self, rollout: RolloutId, *, report: Report, cancel: threading.Event) -> RolloutResult:
        """Watch a rollout to its end; `cancel` only ends the watching."""
        return self.attend(rollout, report=report, cancel=cancel, cancels=False)

    def attend(
        self, rollout: RolloutId, *, report: Report, cancel: threading.Event, cancels: bool = True
    ) -> RolloutResult:
        """Hand a rollout's events to `report` until its end; a restart of the daemon in between is waited for."""
        ended = threading.Event()
        watcher = threading.Thread(target=self._cancels, args=(rollout, cancel, ended), daemon=True, name="cancels")
        if cancels:
            watcher.start()
        try:
            last = self._attend(rollout, report, cancel if not cancels else None)
        except NotAllowedError as error:
            raise _shut_out(rollout, error) from error
        finally:
            ended.set()
        if (last.get("error") or {}).get("fields", {}).get("code") == _SHUT_OUT:
            raise _shut_out(rollout, error_from_json(last["error"]))
        if last.get("error"):
            raise error_from_json(last["error"])
        if last.get("result"):
            return RolloutResult.from_json(last["result"])
        raise _without_rollout(rollout, last)

    def _attend(self, rollout: RolloutId, report: Report, leave: threading.Event | None) -> dict[str, Any]:
        seen, tell = 0, teller(report)
        gone_since: float | None = None

        def back() -> None:
            nonlocal gone_since
            gone_since = None

        while True:
            try:
                for name, fields in self._link.stream(f"/v1/rollouts/{rollout}/events", last=seen, opened=back):
                    if name == "end":
                        return fields
                    seen = max(seen, int(fields.get("seq") or 0))
                    tell(name, fields)
                    if leave is not None and leave.is_set():
                        raise CancelledError("you stopped watching; the rollout goes on", fix=f"deployd show {rollout}")
            except (*_BROKEN, UnreachableError) as error:
                gone_since = gone_since or time.monotonic()
                if time.monotonic() - gone_since > COMES_BACK:
                    raise UnreachableError(
                        f"the daemon went away and did not come back within {COMES_BACK:g} s",
                        code="daemon-gone",
                        live="unknown to this command; the daemon settles the rollout when it starts",
                        fix=f"start it, then `deployd show {rollout}`",
                    ) from error
            time.sleep(0.1)

    def _cancels(self, rollout: RolloutId, cancel: threading.Event, ended: threading.Event) -> None:
        """Hand Ctrl-C on."""
        while not ended.is_set():
            if not cancel.wait(0.1):
                continue
            link = Connection(self.daemon)
            try:
                link.call("POST", f"/v1/rollouts/{rollout}/cancel")
            except UnreachableError:
                time.sleep(1)
                continue
            except DeploydError:
                return  # it is at its end already
            finally:
                link.close()
            return

    def cancel(
        self, rollout: RolloutId | None, app: AppName | None = None, environment: EnvironmentName | None = None
    ) -> RolloutId:
        """Ask a rollout (or the one of an app and environment) to turn back, or take it out of the queue."""
        if rollout is not None:
            return RolloutId(self._link.call("POST", f"/v1/rollouts/{rollout}/cancel")["rollout"])
        return RolloutId(self._link.call("POST", "/v1/cancel", {"app": app, "environment": environment})["rollout"])

    # the daemon's own

    def apps(self) -> tuple[RegisteredApp, ...]:
        """Registered apps."""
        return tuple(values.app(one) for one in self._link.call("GET", "/v1/apps")["apps"])

    def add_app(self, name: AppName, *, repository: str, subdir: str) -> RegisteredApp:
        """Register an app."""
        return values.app(self._link.call("PUT", f"/v1/apps/{name}", {"repository": repository, "subdir": subdir}))

    def remove_app(self, name: AppName) -> None:
        """Forget an app."""
        self._link.call("DELETE", f"/v1/apps/{name}")

    def tokens(self) -> tuple[Token, ...]:
        """All tokens."""
        return tuple(values.token(one) for one in self._link.call("GET", "/v1/tokens")["tokens"])

    def create_token(
        self, *, scope: str, apps: Sequence[AppName], expires_in: float | None, note: str | None
    ) -> tuple[Token, str]:
        """Make a token; its text is told once."""
        body = {"scope": scope, "apps": list(apps), "expires_in": expires_in, "note": note}
        made = self._link.call("POST", "/v1/tokens", {name: one for name, one in body.items() if one is not None})
        return values.token(made), made["token"]

    def revoke_token(self, name: str) -> Token:
        """Revoke a token."""
        return values.token(self._link.call("DELETE", f"/v1/tokens/{name}"))

    def audit(self, app: AppName | None = None, *, limit: int = 50) -> tuple[AuditEntry, ...]:
        """Who did what, newest first."""
        return tuple(
            values.audit_entry(one) for one in self._link.call("GET", "/v1/audit", app=app, limit=limit)["entries"]
        )

    def me(self) -> dict[str, Any]:
        """Who the daemon takes this client for."""
        return dict(self._link.call("GET", "/v1/me"))

    def _as_ask(self, wish: ReleaseWish) -> dict[str, Any]:
        ask = self._for_elsewhere(wish)[1]
        return {name: one for name, one in ask.items() if one is not None}

    def _for_elsewhere(self, wish: Wish) -> tuple[str, dict[str, Any]]:
        """A wish as an ask of the registered app: the daemon reads hosts and options from the commit itself."""
        if self._narrowed:
            raise UsageError(
                "--host cannot be used with a daemon on another machine",
                code="daemon-only-there",
                fix="leave it out, or run the command on the daemon's machine",
            )
        place: dict[str, Any] = {"app": wish.app, "environment": wish.environment}
        if not isinstance(wish, RollbackWish):
            asked = {"confirm_within": wish.confirm_within, "during_freeze": wish.during_freeze or None}
            place |= {name: one for name, one in asked.items() if one is not None}
        if isinstance(wish, RollbackWish):
            return "rollbacks", {**place, "release": wish.release}
        if isinstance(wish, PromoteWish):
            return "promotes", {**place, "release": wish.release, "activate": wish.activate, "message": wish.message}
        if isinstance(wish, ActivateWish):
            return "finishes", {**place, "release": wish.release, "message": wish.message}
        if wish.source is None or wish.source.dirty:
            what = "--artifact" if wish.source is None else "--dirty"
            raise UsageError(
                f"{what} cannot be used with a daemon on another machine: it fetches commits from the app's repository",
                code="daemon-needs-commit",
                fix="commit and push, then release again; or run the command on the daemon's machine",
            )
        commit = commit_of(wish.source.repository, wish.source.ref)
        return "releases", {**place, "commit": commit, "activate": wish.activate, "message": wish.message}


def _shut_out(rollout: RolloutId, error: DeploydError) -> DeploydError:
    """The token of who follows a rollout ended; the rollout did not."""
    if error.code != _SHUT_OUT:
        return error
    return NotAllowedError(
        error.what,
        code=error.code,
        live=f"unknown to this command; rollout {rollout} goes on",
        fix=f"get a new one (deployd token create, on the daemon's machine), then `deployd watch {rollout}`",
    )


def _without_rollout(rollout: RolloutId, last: dict[str, Any]) -> DeploydError:
    """An ask that never became a rollout."""
    reason = last.get("reason") or "the daemon says no more"
    if last.get("outcome") == "superseded":
        return SupersededError(f"a newer push took its place: {reason}", live="unchanged", fix="see `deployd rollouts`")
    return DeploydError(
        f"{rollout} ended as {last.get('outcome') or 'unknown'}: {reason}",
        code="rollout-lost",
        live="see `deployd status`",
        fix=f"deployd show {rollout}",
    )
