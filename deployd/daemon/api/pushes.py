"""What pushes need: an app's webhook, forges' tokens, notifications, SSH keys that may push, previews; and pushes."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import Field, StringConstraints

from deployd import notify
from deployd.daemon import previews
from deployd.daemon.api.auth import Caller, daemon_of, require
from deployd.daemon.api.shapes import App, Body, Commit, Count, Ref, Rollout
from deployd.daemon.forges import calls
from deployd.daemon.wiring import Daemon
from deployd.domain import sshkeys
from deployd.domain.ask import Ask
from deployd.domain.ids import AppName, EnvironmentName, RolloutId
from deployd.domain.secret import Secret
from deployd.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from deployd.store.deliveries import Delivery

router = APIRouter(prefix="/v1", tags=["pushes"])
Reader = Annotated[Caller, Depends(require("read"))]
Releaser = Annotated[Caller, Depends(require("release"))]
Admin = Annotated[Caller, Depends(require("admin"))]
TheDaemon = Annotated[Daemon, Depends(daemon_of)]
Forge = Literal["github", "gitlab", "bitbucket", "bitbucket-server", "gitea"]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,62}$")]
Value = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]+$", min_length=1, max_length=2000)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s?#]+$", max_length=300)]
Number = Annotated[int, Field(ge=1, le=2**31)]


class HookBody(Body):
    """`rotate`: a new secret, although there is one; `secret`: one that the forge made itself."""

    rotate: bool = False
    secret: Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]+$", min_length=16, max_length=200)] | None = None


class ForgeBody(Body):
    """A token; `url` is the API's address; `app` None is every app."""

    token: Value
    url: Url | None = None
    app: App | None = None


class NotifyBody(Body):
    """An address as apprise has them; `events` empty is all of them."""

    address: Value
    app: App | None = None
    events: list[notify.Moment] = Field(default_factory=list, max_length=5)


class KeyBody(Body):
    """A public key's line; `apps` empty is every app."""

    line: Value
    apps: list[App] = Field(default_factory=list, max_length=100)


class PushBody(Body):
    """A branch (or, with `tag`, a tag) that was pushed to this machine."""

    branch: Ref
    tag: bool = False
    commit: Commit
    before: Commit | None = None
    who: Name


# webhooks


@router.post("/apps/{app}/hook")
def hook(app: App, body: HookBody, request: Request, caller: Admin, daemon: TheDaemon) -> dict[str, Any]:
    """Where the app's deliveries go; makes a secret when there is none (or `rotate`), and tells it this once.

    A secret of ours has the form of Standard Webhooks, which GitLab's signing token must have; other forges take any.
    """
    name = AppName(app)
    daemon.store.apps.get(name)
    known = daemon.store.secrets.find("hook", app=app, name="")
    made = None
    if known is None or body.rotate or body.secret:
        made = None if body.secret else "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
        daemon.store.secrets.put("hook", app=app, name="", value=Secret(body.secret or made or ""), who=caller.who)
        request.state.audit = {"action": "new hook secret", "app": app, "subject": app}
    else:
        request.state.audit = {"action": "show hook", "app": app, "subject": app}
    base = daemon.settings.get("public_url")
    return {
        "app": app,
        "url": f"{str(base or '').rstrip('/')}/hooks/{app}",
        "complete": base is not None,
        "secret": made,
        "since": known.updated if known and not made and not body.secret else None,
    }


@router.get("/apps/{app}/deliveries")
def deliveries(app: App, _caller: Reader, daemon: TheDaemon, limit: Count = 20) -> dict[str, Any]:
    """What forges sent, newest first, and what became of it."""
    return {"deliveries": [_became(daemon, one) for one in daemon.store.deliveries.latest(app, limit=limit)]}


# forges


@router.get("/forges")
def forges(caller: Reader, daemon: TheDaemon) -> dict[str, Any]:
    """The forges that there is a token for, without the tokens."""
    found = daemon.store.secrets.all("forge")
    return {"forges": [one.to_json() for one in found if not one.app or caller.may(one.app)]}


@router.put("/forges/{forge}", status_code=204)
def put_forge(forge: Forge, body: ForgeBody, request: Request, caller: Admin, daemon: TheDaemon) -> None:
    """Keep a forge's token."""
    _must(caller, body.app)
    if body.url is None and calls.ADDRESSES[forge] is None:
        raise UsageError(
            f"{forge} runs at its owner's: the API's address is needed",
            code="forge-address",
            fix="pass --url https://git.example/api/v1 (Gitea, Forgejo) or https://git.example/rest/api/latest",
        )
    request.state.audit = {"action": "set forge token", "app": body.app, "subject": forge}
    extra = {"url": body.url} if body.url else {}
    daemon.store.secrets.put(
        "forge", app=body.app or "", name=forge, value=Secret(body.token), who=caller.who, extra=extra
    )


@router.delete("/forges/{forge}", status_code=204)
def remove_forge(forge: Forge, request: Request, caller: Admin, daemon: TheDaemon, app: App | None = None) -> None:
    """Forget a forge's token."""
    _must(caller, app)
    request.state.audit = {"action": "remove forge token", "app": app, "subject": forge}
    if not daemon.store.secrets.remove("forge", app=app or "", name=forge):
        raise NotFoundError(f"no token of {forge} is kept", code="forge-unknown", fix="see `deployd forge list`")


# notifications


@router.get("/notify")
def targets(caller: Reader, daemon: TheDaemon) -> dict[str, Any]:
    """Who is told, without the addresses."""
    found = daemon.store.secrets.all("notify")
    return {"targets": [one.to_json() for one in found if not one.app or caller.may(one.app)]}


@router.put("/notify/{name}")
def put_target(name: Name, body: NotifyBody, request: Request, caller: Admin, daemon: TheDaemon) -> dict[str, Any]:
    """Keep a service to tell; its address is checked, not tried."""
    _must(caller, body.app)
    request.state.audit = {"action": "add notification", "app": body.app, "subject": name}
    extra = {"service": notify.check(Secret(body.address)), "events": list(body.events) or list(notify.MOMENTS)}
    daemon.store.secrets.put(
        "notify", app=body.app or "", name=name, value=Secret(body.address), who=caller.who, extra=extra
    )
    return {"name": name, "app": body.app, **extra}


@router.delete("/notify/{name}", status_code=204)
def remove_target(name: Name, request: Request, caller: Admin, daemon: TheDaemon, app: App | None = None) -> None:
    """Tell it nothing more."""
    _must(caller, app)
    request.state.audit = {"action": "remove notification", "app": app, "subject": name}
    if not daemon.store.secrets.remove("notify", app=app or "", name=name):
        raise _no_target(name)


@router.post("/notify/{name}/test")
def try_target(
    name: Name, request: Request, caller: Admin, daemon: TheDaemon, app: App | None = None
) -> dict[str, Any]:
    """Send a message now; `sent` says whether the service took it."""
    _must(caller, app)
    request.state.audit = {"action": "test notification", "app": app, "subject": name}
    address = daemon.store.secrets.reveal("notify", app=app or "", name=name)
    if address is None:
        raise _no_target(name)
    note = notify.Note(moment="started", title="deployd: a test", lines=(f"asked for by {caller.who}",))
    return {"name": name, "sent": notify.send(address, note)}


# keys and pushes over SSH


@router.get("/keys")
def keys(caller: Reader, daemon: TheDaemon) -> dict[str, Any]:
    """The SSH keys that may push (to an app of the caller's)."""
    found = daemon.store.git_keys.all()
    return {"keys": [one.to_json() for one in found if not one.apps or any(map(caller.may, one.apps))]}


@router.put("/keys/{name}")
def put_key(name: Name, body: KeyBody, request: Request, caller: Admin, daemon: TheDaemon) -> dict[str, Any]:
    """Let an SSH key push; `file` is the authorized_keys file that sshd must be told of."""
    caller.must_be_unbound()
    request.state.audit = {"action": "add key", "subject": name}
    try:
        parsed = sshkeys.parse(body.line)
    except ValueError as error:
        raise UsageError(str(error), code="key-invalid", fix="give the .pub file of an ed25519 key") from error
    apps = [AppName(one) for one in body.apps]
    kept = daemon.store.git_keys.add(
        name=name, fingerprint=parsed.fingerprint, line=parsed.line, apps=apps, who=caller.who
    )
    return {**kept.to_json(), "file": str(_write_keys(daemon))}


@router.delete("/keys/{name}", status_code=204)
def remove_key(name: Name, request: Request, caller: Admin, daemon: TheDaemon) -> None:
    """Let it push no more."""
    caller.must_be_unbound()
    request.state.audit = {"action": "remove key", "subject": name}
    daemon.store.git_keys.remove(name)
    _write_keys(daemon)


@router.post("/apps/{app}/pushes", status_code=202)
def push(app: App, body: PushBody, request: Request, caller: Admin, daemon: TheDaemon) -> dict[str, Any]:
    """A branch arrived in the repository that the daemon keeps for the app: release it where it belongs."""
    request.state.audit = None
    ask = Ask(
        kind="release",
        app=AppName(app),
        environment=EnvironmentName(""),
        cause="push",
        who=f"git:{body.who}",
        ref=f"refs/tags/{body.branch}" if body.tag else body.branch,
        commit=body.commit,
        branch=f"tag {body.branch}" if body.tag else body.branch,
        automatic=True,
        details={"before": body.before, "pushed": "ssh", "tag": body.branch if body.tag else None},
    )
    rollout, _ = daemon.ask(ask, origin=caller.origin)
    return {"rollout": rollout}


@router.get("/apps/{app}/pushes/{rollout}")
def pushed(app: App, rollout: Rollout, _caller: Reader, daemon: TheDaemon) -> dict[str, Any]:
    """A push's rollouts: one for each environment that it releases."""
    found = daemon.store.queue.of_push(AppName(app), RolloutId(rollout))
    return {"rollouts": [{**one.to_json(), "reason": one.reason} for one in found]}


# previews


@router.get("/previews")
def list_previews(caller: Reader, daemon: TheDaemon, app: App | None = None) -> dict[str, Any]:
    """Pull requests and their previews, newest first."""
    found = daemon.store.previews.all(AppName(app) if app else None)
    return {"previews": [one.to_json() for one in found if caller.may(one.app)]}


@router.post("/apps/{app}/previews/{number}/approve", status_code=202)
def approve_preview(app: App, number: Number, request: Request, caller: Releaser, daemon: TheDaemon) -> dict[str, Any]:
    """Build a fork's pull request, at the commit that it has now."""
    request.state.audit = {"action": "approve preview", "app": app, "subject": f"pull/{number}"}
    return {"rollout": previews.approve(daemon, AppName(app), number, who=caller.who)}


@router.delete("/apps/{app}/previews/{number}", status_code=204)
def remove_preview(app: App, number: Number, request: Request, _caller: Releaser, daemon: TheDaemon) -> None:
    """Remove a preview, whatever the forge says; the next commit of the pull request brings it back."""
    request.state.audit = {"action": "remove preview", "app": app, "subject": f"pull/{number}"}
    if not daemon.store.previews.change(AppName(app), number, state="closed"):
        raise NotFoundError(
            f"there is no preview of pull request {number}", code="preview-unknown", fix="see `deployd preview list`"
        )
    for part in daemon.parts:
        if isinstance(part, previews.Reconciler):
            part.wake()


def _must(caller: Caller, app: str | None) -> None:
    if app is None:
        caller.must_be_unbound()
    else:
        caller.must(app)


def _became(daemon: Daemon, delivery: Delivery) -> dict[str, Any]:
    """A delivery with the state of what it asked for: `state` is the ask's, or its outcome once it has one."""
    asks = filter(None, (daemon.store.queue.find(one) for one in delivery.rollouts))
    became = [{"rollout": one.id, "state": one.outcome or one.state, "reason": one.reason} for one in asks]
    return {**delivery.to_json(), "became": became}


def _no_target(name: str) -> NotFoundError:
    return NotFoundError(f"nobody is told by {name!r}", code="notify-unknown", fix="see `deployd notify list`")


def _write_keys(daemon: Daemon) -> Any:
    file = daemon.paths.root / "git" / "authorized_keys"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lines = [
        sshkeys.authorized(one.line, name=one.name, state_dir=str(daemon.paths.root))
        for one in daemon.store.git_keys.all()
    ]
    aside = file.with_name(f".authorized_keys.{secrets.token_hex(4)}")
    aside.write_text("".join(f"{line}\n" for line in lines))
    aside.chmod(0o600)
    return aside.replace(file)
