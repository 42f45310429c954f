"""A request's headers, its raw body and the app's secret come in; what the forge says goes out, or a refusal.

The signature is checked over the raw body before anything of it is parsed. Which forge it is, its headers say.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from deployd.daemon.hooks import bitbucket, generic, gitea, github, gitlab, reading, signing
from deployd.errors import NotAllowedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deployd.daemon.hooks.values import Delivered, Forge
    from deployd.domain.secret import Secret

LARGEST = 5 * 1024 * 1024  # bytes of a body
_LONGEST_ID = 100


def refused() -> NotAllowedError:
    """The one answer to an unknown app, a missing secret and a wrong signature: it tells a stranger nothing."""
    return NotAllowedError(
        "this delivery is not signed with the app's secret",
        code="hook-refused",
        fix="compare the secret on the forge with `deployd hook show`, or make a new one with `deployd hook rotate`",
    )


def receive(headers: Mapping[str, str], body: bytes, *, secret: Secret | None, now: float) -> Delivered:
    """Check and read one delivery; `headers` have lower-case names, `now` is in Unix seconds.

    Raises NotAllowedError (`hook-refused`), UsageError (`hook-too-large`, `hook-unknown`, `hook-malformed`).
    """
    if len(body) > LARGEST:
        raise too_large()
    forge = forge_of(headers)
    if forge is None or secret is None or not secret.reveal() or not signed(forge, headers, body, secret, now=now):
        raise refused()
    delivery = delivery_of(forge, headers, body)
    payload = reading.read(body, content_type=headers.get("content-type", ""))
    match forge:
        case "github":
            return github.parse(headers["x-github-event"], payload, delivery=delivery)
        case "gitea":
            event = headers.get("x-forgejo-event") or headers.get("x-gitea-event") or ""
            return gitea.parse(event, payload, delivery=delivery)
        case "gitlab":
            return gitlab.parse(payload, delivery=delivery)
        case "bitbucket" | "bitbucket-server":
            return bitbucket.parse(headers["x-event-key"], payload, delivery=delivery)
        case "generic":
            return generic.parse(payload, delivery=delivery)


def too_large() -> UsageError:
    """The error of a body over the limit."""
    return UsageError(
        f"the delivery is larger than {LARGEST // 1024 // 1024} MiB",
        code="hook-too-large",
        fix="push fewer commits at once, or use deployd's own signed hook, which sends only what is needed",
    )


def too_slow() -> UsageError:
    """The error of a body that does not come."""
    return UsageError(
        "the delivery's body did not come in time",
        code="hook-too-slow",
        fix="see what is between the forge and deployd; the forge can send the delivery again",
        retryable=True,
    )


def forge_of(headers: Mapping[str, str]) -> Forge | None:
    """Who sent it, by its headers. Gitea comes first: it also sends GitHub's, for programs that know only those."""
    if "x-deployd-signature" in headers:
        return "generic"
    if "x-forgejo-event" in headers or "x-gitea-event" in headers:
        return "gitea"
    if "x-github-event" in headers:
        return "github"
    if "x-gitlab-event" in headers:
        return "gitlab"
    return "bitbucket" if "x-event-key" in headers else None


def signed(forge: Forge, headers: Mapping[str, str], body: bytes, secret: Secret, *, now: float) -> bool:
    """Whether the app's secret made the signature. Of several headers one counts: a bad one is not rescued."""
    if forge == "generic":
        return signing.by_stamp(secret, body, headers, now=now)
    if forge == "gitlab" and "webhook-signature" in headers:
        return signing.by_standard(secret, body, headers, now=now)
    if forge == "gitlab":
        return signing.by_token(secret, headers.get("x-gitlab-token"))
    if forge == "gitea":
        body = reading.of_form(body, headers.get("content-type", "")) or body  # of a form, only what is in it is signed
        bare = headers.get("x-forgejo-signature") or headers.get("x-gitea-signature")
        if bare:
            return signing.by_hex(secret, body, bare)
    name = "x-hub-signature" if forge in {"bitbucket", "bitbucket-server"} else "x-hub-signature-256"
    return signing.by_hex(secret, body, headers.get(name), prefix="sha256=")


def delivery_of(forge: Forge, headers: Mapping[str, str], body: bytes) -> str:
    """What a repeated delivery has in common with the first: the forge's id, or else the body's hash.

    The id of a forge that does not sign it is worth as much as the body: a replay under a new id is caught by the
    commit, which is released once.
    """
    names = {
        "github": ("x-github-delivery",),
        "gitlab": ("webhook-id", "idempotency-key"),
        "gitea": ("x-forgejo-delivery", "x-gitea-delivery"),
        "bitbucket": ("x-request-uuid", "x-request-id"),
    }.get(forge, ())
    for name in names:
        given = headers.get(name, "")
        if given and len(given) <= _LONGEST_ID and given.isascii() and given.isprintable():
            return given
    # GitLab's event id is shared by all that follows from one hook (a merge, and its push), so the body counts too
    about = {"generic": "x-deployd-timestamp", "gitlab": "x-gitlab-event-uuid"}.get(forge, "")
    return hashlib.sha256(headers.get(about, "").encode("utf-8", "replace") + b"." + body).hexdigest()
