"""GitHub's delivery: its event's name and payload come in, a Push, PullRequest, Ping or Ignored goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd.daemon.hooks import reading
from deployd.daemon.hooks.values import Change, Forge, Ignored, Ping, PullRequest, Push, Repository

if TYPE_CHECKING:
    from deployd.daemon.hooks.reading import Payload
    from deployd.daemon.hooks.values import Action, Delivered

_ACTIONS: dict[str, Action] = {
    "opened": "opened",
    "reopened": "opened",
    "ready_for_review": "updated",
    "synchronize": "updated",
    "synchronized": "updated",  # Gitea's word
    "closed": "closed",
}
_MOST_COMMITS = 2048  # GitHub lists no more; a list of this length may be cut


def parse(event: str, payload: Payload, *, delivery: str, forge: Forge = "github") -> Delivered:
    """Read one delivery; Gitea and Forgejo speak the same words. Raises UsageError (`hook-malformed`)."""
    if event == "ping":
        return Ping(forge=forge, delivery=delivery)
    if event == "push":
        return _push(payload, delivery=delivery, forge=forge)
    if event in {"pull_request", "pull_request_sync"}:
        return _pull_request(payload, delivery=delivery, forge=forge)
    return Ignored(forge=forge, delivery=delivery, reason=f"event {event[:60]!r} starts nothing")


def _push(payload: Payload, *, delivery: str, forge: Forge) -> Delivered:
    ref = payload.ref("ref")
    split = reading.split_ref(ref)
    if split is None:
        return Ignored(forge=forge, delivery=delivery, reason=f"{ref} is neither a branch nor a tag")
    kind, name = split
    after = None if payload.flag("deleted") else payload.commit("after")
    before = payload.commit("before")
    commits = payload.parts("commits")
    total = payload.count("total_commits")
    forced = payload.flag("forced")
    complete = before is not None and not forced and len(commits) < _MOST_COMMITS and total in {None, len(commits)}
    head = payload.part("head_commit") if payload.has("head_commit") else None
    change = Change(
        kind="tag" if kind == "tag" else "branch",
        name=name,
        before=before,
        after=after,
        forced=forced,
        files=reading.changed_files(commits, complete=complete),
        message=head.message("message") if head else None,
    )
    return Push(
        forge=forge, delivery=delivery, repository=_repository(payload), changes=(change,), who=_who(payload, forge)
    )


def _pull_request(payload: Payload, *, delivery: str, forge: Forge) -> Delivered:
    action = _ACTIONS.get(payload.text("action"))
    if action is None:
        return Ignored(
            forge=forge, delivery=delivery, reason=f"a pull request was {payload.text('action')[:60]}: starts nothing"
        )
    pull = payload.part("pull_request")
    head, base = pull.part("head"), pull.part("base")
    number = payload.number("number")
    commit = head.commit("sha")
    if commit is None:
        raise reading.malformed("pull_request.head.sha is none")
    # the head's repository is null once it was deleted: nobody can say that it was ours
    ours = head.has("repo") and head.part("repo").text("full_name") == base.part("repo").text("full_name")
    return PullRequest(
        forge=forge,
        delivery=delivery,
        repository=_repository(payload),
        number=number,
        action=action,
        title=pull.maybe("title") or f"#{number}",
        url=pull.maybe("html_url"),
        branch=head.ref("ref"),
        base=base.ref("ref"),
        commit=commit,
        ref=f"refs/pull/{number}/head",
        fork=not ours,
        who=_who(payload, forge),
        at=pull.moment("updated_at"),
    )


def _repository(payload: Payload) -> Repository:
    found = payload.part("repository")
    return Repository(name=found.text("full_name"), url=found.maybe("html_url"))


def _who(payload: Payload, forge: Forge) -> str:
    for key, name in (("sender", "login"), ("pusher", "login"), ("pusher", "name")):
        found = payload.part(key).maybe(name) if payload.has(key) else None
        if found:
            return f"{forge}:{found}"
    return forge
