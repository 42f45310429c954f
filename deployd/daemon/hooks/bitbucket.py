"""Bitbucket's delivery (Cloud, and Data Center): its event key and payload come in, a Push or PullRequest goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.daemon.hooks import reading
from deployd.daemon.hooks.values import Change, Ignored, Ping, PullRequest, Push, Repository

if TYPE_CHECKING:
    from deployd.daemon.hooks.reading import Payload
    from deployd.daemon.hooks.values import Action, Delivered, RefKind

_CLOUD: dict[str, Action] = {
    "pullrequest:created": "opened",
    "pullrequest:updated": "updated",
    "pullrequest:fulfilled": "closed",
    "pullrequest:rejected": "closed",
}
_SERVER: dict[str, Action] = {
    "pr:opened": "opened",
    "pr:from_ref_updated": "updated",
    "pr:merged": "closed",
    "pr:declined": "closed",
    "pr:deleted": "closed",
}


def parse(event: str, payload: Payload, *, delivery: str) -> Delivered:
    """Read one delivery; raises UsageError (`hook-malformed`)."""
    if event == "diagnostics:ping":
        return Ping(forge="bitbucket-server", delivery=delivery)
    if event == "repo:push":
        return _cloud_push(payload, delivery=delivery)
    if event == "repo:refs_changed":
        return _server_push(payload, delivery=delivery)
    if event in _CLOUD:
        return _cloud_pull(payload, delivery=delivery, action=_CLOUD[event])
    if event in _SERVER:
        return _server_pull(payload, delivery=delivery, action=_SERVER[event])
    return Ignored(forge="bitbucket", delivery=delivery, reason=f"event {event[:60]!r} starts nothing")


def _cloud_push(payload: Payload, *, delivery: str) -> Delivered:
    changes = []
    for moved in payload.part("push").parts("changes"):
        new = moved.part("new") if moved.has("new") else None
        old = moved.part("old") if moved.has("old") else None
        named = new or old
        if named is None:
            continue
        kind = _kind(named.text("type"))
        if kind is None:
            continue
        target = new.part("target") if new else None
        changes.append(
            Change(
                kind=kind,
                name=named.ref("name"),
                before=old.part("target").commit("hash") if old and old.has("target") else None,
                after=target.commit("hash") if target else None,
                forced=moved.flag("forced"),
                message=target.message("message") if target else None,
            )
        )
    if not changes:
        return Ignored(forge="bitbucket", delivery=delivery, reason="no branch and no tag moved")
    return Push(
        forge="bitbucket",
        delivery=delivery,
        repository=_cloud_repository(payload.part("repository")),
        changes=tuple(changes),
        who=_who(payload),
    )


def _server_push(payload: Payload, *, delivery: str) -> Delivered:
    changes = []
    for moved in payload.parts("changes"):
        split = reading.split_ref(reading.checked_ref(moved.part("ref").text("id"), "changes.ref.id"))
        if split is None:
            continue
        kind, name = split
        changes.append(
            Change(
                kind="tag" if kind == "tag" else "branch",
                name=name,
                before=moved.commit("fromHash"),
                after=moved.commit("toHash"),
            )
        )
    if not changes:
        return Ignored(forge="bitbucket-server", delivery=delivery, reason="no branch and no tag moved")
    return Push(
        forge="bitbucket-server",
        delivery=delivery,
        repository=_server_repository(payload.part("repository")),
        changes=tuple(changes),
        who=_who(payload),
    )


def _cloud_pull(payload: Payload, *, delivery: str, action: Action) -> PullRequest:
    pull = payload.part("pullrequest")
    source, target = pull.part("source"), pull.part("destination")
    commit = source.part("commit").commit("hash")
    if commit is None:
        raise reading.malformed("pullrequest.source.commit.hash is none")
    number = pull.number("id")
    into = _cloud_repository(target.part("repository"))
    ours = source.has("repository") and source.part("repository").text("full_name") == into.name
    branch = source.part("branch").ref("name")
    return PullRequest(
        forge="bitbucket",
        delivery=delivery,
        repository=into,
        number=number,
        action=action,
        title=pull.maybe("title") or f"#{number}",
        url=pull.part("links").part("html").maybe("href") if _linked(pull) else None,
        branch=branch,
        base=target.part("branch").ref("name"),
        commit=commit,
        ref=f"refs/heads/{branch}",  # Cloud has no ref for a pull request; a fork's branch is not in this repository
        fork=not ours,
        who=_who(payload),
        at=pull.moment("updated_on"),
    )


def _server_pull(payload: Payload, *, delivery: str, action: Action) -> PullRequest:
    pull = payload.part("pullRequest")
    source, target = pull.part("fromRef"), pull.part("toRef")
    commit = source.commit("latestCommit")
    if commit is None:
        raise reading.malformed("pullRequest.fromRef.latestCommit is none")
    number = pull.number("id")
    into = _server_repository(target.part("repository"))
    return PullRequest(
        forge="bitbucket-server",
        delivery=delivery,
        repository=into,
        number=number,
        action=action,
        title=pull.maybe("title") or f"#{number}",
        url=None,
        branch=source.ref("displayId"),
        base=target.ref("displayId"),
        commit=commit,
        ref=f"refs/pull-requests/{number}/from",
        fork=_server_repository(source.part("repository")) != into,
        who=_who(payload),
        at=pull.moment("updatedDate"),
    )


def _kind(text: str) -> RefKind | None:
    if text in {"branch", "named_branch"}:
        return "branch"
    return "tag" if text in {"tag", "annotated_tag"} else None


def _linked(pull: Payload) -> bool:
    return pull.has("links") and pull.part("links").has("html")


def _cloud_repository(found: Payload) -> Repository:
    page = found.part("links").part("html").maybe("href") if _linked(found) else None
    return Repository(name=found.text("full_name"), url=page)


def _server_repository(found: Payload) -> Repository:
    return Repository(name=f"{found.part('project').text('key')}/{found.text('slug')}")


def _who(payload: Payload) -> str:
    actor = payload.part("actor") if payload.has("actor") else None
    name = actor and (actor.maybe("nickname") or actor.maybe("name") or actor.maybe("display_name"))
    return f"bitbucket:{name}" if name else "bitbucket"
