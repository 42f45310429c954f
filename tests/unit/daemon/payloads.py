"""Deliveries as forges document them, cut to what matters, and their signatures."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from deployd.domain.secret import Secret

SECRET = Secret("It's a Secret to Everybody")
A, B = "a" * 40, "b" * 40
ZEROS = "0" * 40
NOW = 1_790_000_000.0


def body_of(payload: Any) -> bytes:
    return json.dumps(payload).encode()


def signature(body: bytes, secret: Secret = SECRET) -> str:
    return hmac.new(secret.reveal().encode(), body, hashlib.sha256).hexdigest()


def github(payload: Any, event: str = "push", delivery: str = "d-1") -> tuple[dict[str, str], bytes]:
    body = body_of(payload)
    return {
        "content-type": "application/json",
        "x-github-event": event,
        "x-github-delivery": delivery,
        "x-hub-signature-256": f"sha256={signature(body)}",
    }, body


def gitea(payload: Any, event: str = "push") -> tuple[dict[str, str], bytes]:
    body = body_of(payload)
    return {
        "content-type": "application/json",
        "x-gitea-event": event,
        "x-gitea-delivery": "g-1",
        "x-gitea-signature": signature(body),
        "x-github-event": event,  # Gitea sends these too
        "x-github-delivery": "g-1",
        "x-hub-signature-256": f"sha256={signature(body)}",
    }, body


def gitlab(payload: Any) -> tuple[dict[str, str], bytes]:
    return {
        "content-type": "application/json",
        "x-gitlab-event": "Push Hook",
        "x-gitlab-token": SECRET.reveal(),
        "idempotency-key": "l-1",
    }, body_of(payload)


def gitlab_signed(payload: Any, *, secret: Secret, key: bytes, at: float = NOW) -> tuple[dict[str, str], bytes]:
    del secret
    body = body_of(payload)
    digest = hmac.new(key, f"w-1.{int(at)}.".encode() + body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "x-gitlab-event": "Push Hook",
        "webhook-id": "w-1",
        "webhook-timestamp": str(int(at)),
        "webhook-signature": "v1,AAAA v1," + base64.b64encode(digest).decode(),
    }, body


def bitbucket(payload: Any, event: str = "repo:push") -> tuple[dict[str, str], bytes]:
    body = body_of(payload)
    return {
        "content-type": "application/json",
        "x-event-key": event,
        "x-request-uuid": "u-1",
        "x-hub-signature": f"sha256={signature(body)}",
    }, body


def generic(payload: Any, *, at: float = NOW) -> tuple[dict[str, str], bytes]:
    body = body_of(payload)
    return {
        "content-type": "application/json",
        "x-deployd-timestamp": str(int(at)),
        "x-deployd-signature": "sha256=" + signature(f"{int(at)}.".encode() + body),
    }, body


REPOSITORY = {"full_name": "acme/shop", "html_url": "https://forge.example/acme/shop"}
PROJECT = {"path_with_namespace": "acme/shop", "web_url": "https://forge.example/acme/shop"}


def github_push(**changes: Any) -> dict[str, Any]:
    commit = {"id": B, "message": "Prices", "added": ["shop/a.ts"], "removed": [], "modified": ["README.md"]}
    return {
        "ref": "refs/heads/main",
        "before": A,
        "after": B,
        "deleted": False,
        "forced": False,
        "commits": [commit],
        "head_commit": commit,
        "repository": REPOSITORY,
        "pusher": {"name": "anna"},
        "sender": {"login": "anna"},
        **changes,
    }


def github_pull(action: str = "opened", *, fork: bool = False) -> dict[str, Any]:
    theirs = {"full_name": "mallory/shop"} if fork else {"full_name": "acme/shop"}
    return {
        "action": action,
        "number": 12,
        "pull_request": {
            "title": "New prices",
            "html_url": "https://forge.example/acme/shop/pull/12",
            "head": {"ref": "prices", "sha": B, "repo": theirs},
            "base": {"ref": "main", "sha": A, "repo": {"full_name": "acme/shop"}},
        },
        "repository": REPOSITORY,
        "sender": {"login": "anna"},
    }


def gitlab_push(**changes: Any) -> dict[str, Any]:
    return {
        "object_kind": "push",
        "before": A,
        "after": B,
        "ref": "refs/heads/main",
        "checkout_sha": B,
        "user_username": "anna",
        "project": PROJECT,
        "commits": [{"id": B, "message": "Prices", "added": [], "modified": ["shop/a.ts"], "removed": []}],
        "total_commits_count": 1,
        **changes,
    }


def gitlab_merge(action: str = "open", **changes: Any) -> dict[str, Any]:
    return {
        "object_kind": "merge_request",
        "user": {"username": "anna"},
        "project": PROJECT,
        "object_attributes": {
            "iid": 7,
            "action": action,
            "title": "New prices",
            "url": "https://forge.example/acme/shop/-/merge_requests/7",
            "source_branch": "prices",
            "target_branch": "main",
            "source_project_id": 1,
            "target_project_id": 1,
            "last_commit": {"id": B, "message": "Prices"},
            **changes,
        },
    }


def bitbucket_push(*changes: dict[str, Any]) -> dict[str, Any]:
    made = {
        "new": {"type": "branch", "name": "main", "target": {"hash": B, "message": "Prices\n"}},
        "old": {"type": "branch", "name": "main", "target": {"hash": A}},
        "forced": True,
    }
    return {
        "actor": {"nickname": "anna"},
        "repository": {"full_name": "acme/shop", "links": {"html": {"href": "https://forge.example/acme/shop"}}},
        "push": {"changes": list(changes) or [made]},
    }


def server_push() -> dict[str, Any]:
    change = {"ref": {"id": "refs/heads/main", "type": "BRANCH"}, "fromHash": A, "toHash": B, "type": "UPDATE"}
    return {
        "eventKey": "repo:refs_changed",
        "actor": {"name": "anna"},
        "repository": {"slug": "shop", "project": {"key": "ACME"}},
        "changes": [change],
    }
