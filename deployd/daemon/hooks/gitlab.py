"""GitLab's delivery: its payload comes in, a Push, PullRequest (a merge request) or Ignored goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.daemon.hooks import reading
from deployd.daemon.hooks.values import Change, Ignored, PullRequest, Push, Repository

if TYPE_CHECKING:
    from deployd.daemon.hooks.reading import Payload
    from deployd.daemon.hooks.values import Action, Delivered

_PUSHES = {"push", "tag_push"}
_ACTIONS: dict[str, Action] = {"open": "opened", "reopen": "opened", "close": "closed", "merge": "closed"}


def parse(payload: Payload, *, delivery: str) -> Delivered:
    """Read one delivery (its kind is in the payload); raises UsageError (`hook-malformed`)."""
    kind = payload.text("object_kind") if payload.has("object_kind") else payload.text("event_name")
    if kind in _PUSHES:
        return _push(payload, delivery=delivery)
    if kind == "merge_request":
        return _merge_request(payload, delivery=delivery)
    return Ignored(forge="gitlab", delivery=delivery, reason=f"event {kind[:60]!r} starts nothing")


def _push(payload: Payload, *, delivery: str) -> Delivered:
    ref = payload.ref("ref")
    split = reading.split_ref(ref)
    if split is None:
        return Ignored(forge="gitlab", delivery=delivery, reason=f"{ref} is neither a branch nor a tag")
    kind, name = split
    before, after = payload.commit("before"), payload.commit("after")
    # an annotated tag's `after` is the tag itself; `checkout_sha` is the commit that it names
    commit = payload.commit("checkout_sha") or after if after else None
    commits = payload.parts("commits")
    complete = before is not None and payload.count("total_commits_count") == len(commits)
    messages = [one.message("message") for one in commits if commit and one.commit("id") == commit]
    change = Change(
        kind="tag" if kind == "tag" else "branch",
        name=name,
        before=before,
        after=commit,
        files=reading.changed_files(commits, complete=complete),
        message=messages[0] if messages else None,
    )
    who = payload.maybe("user_username") or payload.maybe("user_name")
    return Push(
        forge="gitlab",
        delivery=delivery,
        repository=_repository(payload),
        changes=(change,),
        who=f"gitlab:{who}" if who else "gitlab",
    )


def _merge_request(payload: Payload, *, delivery: str) -> Delivered:
    merge = payload.part("object_attributes")
    word = merge.text("action") if merge.has("action") else "looked at"
    # an update without `oldrev` changed the title or a label, not the commits
    action: Action | None = "updated" if word == "update" and merge.has("oldrev") else _ACTIONS.get(word)
    if action is None:
        return Ignored(forge="gitlab", delivery=delivery, reason=f"merge request: {word[:60]} starts nothing")
    number = merge.number("iid")
    last = merge.part("last_commit")
    commit = last.commit("id")
    if commit is None:
        raise reading.malformed("object_attributes.last_commit.id is none")
    ours = merge.has("source_project_id")  # null once the fork was deleted: nobody can say that it was ours
    user = payload.part("user").maybe("username") if payload.has("user") else None
    return PullRequest(
        forge="gitlab",
        delivery=delivery,
        repository=_repository(payload),
        number=number,
        action=action,
        title=merge.maybe("title") or f"!{number}",
        url=merge.maybe("url"),
        branch=merge.ref("source_branch"),
        base=merge.ref("target_branch"),
        commit=commit,
        ref=f"refs/merge-requests/{number}/head",
        fork=not ours or merge.number("source_project_id") != merge.number("target_project_id"),
        who=f"gitlab:{user}" if user else "gitlab",
        message=last.message("message"),
        at=merge.moment("updated_at"),
    )


def _repository(payload: Payload) -> Repository:
    project = payload.part("project")
    return Repository(name=project.text("path_with_namespace"), url=project.maybe("web_url"))
