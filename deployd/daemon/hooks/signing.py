"""A raw body, its headers and a secret come in; whether the secret's owner sent it goes out, in constant time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from deployd.domain.secret import Secret

TOLERANCE = 300.0  # seconds that a signed time may differ from ours
_PREFIX = "whsec_"


def hexed(secret: Secret, body: bytes) -> str:
    """HMAC-SHA256 in hex."""
    return hmac.new(secret.reveal().encode(), body, hashlib.sha256).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether two texts are equal, in a time that does not tell where they differ."""
    return hmac.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape"))


def by_hex(secret: Secret, body: bytes, given: str | None, *, prefix: str = "") -> bool:
    """A header of `prefix` and the HMAC in hex (GitHub `sha256=`, Bitbucket, Gitea without)."""
    return same(prefix + hexed(secret, body), given or "")


def by_token(secret: Secret, given: str | None) -> bool:
    """GitLab's `X-Gitlab-Token`: the secret itself."""
    return same(secret.reveal(), given or "")


def by_standard(secret: Secret, body: bytes, headers: Mapping[str, str], *, now: float) -> bool:
    """GitLab's signing token: `webhook-signature` holds `v1,<base64>` of `<id>.<time>.<body>`, by Standard Webhooks.

    The key is the token; one that begins with `whsec_` is base64 after that. Either reading may match.
    """
    sent, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    message = b".".join((sent.encode("utf-8", "surrogateescape"), stamp.encode("utf-8", "surrogateescape"), body))
    given = headers.get("webhook-signature", "").split(" ")
    expected = [
        "v1," + base64.b64encode(hmac.new(key, message, hashlib.sha256).digest()).decode() for key in _keys(secret)
    ]
    matches = [same(one, other) for one in expected for other in given[:8]]
    return any(matches) and recent(stamp, now=now)


def by_stamp(secret: Secret, body: bytes, headers: Mapping[str, str], *, now: float) -> bool:
    """The generic hook: `X-Deployd-Signature: sha256=` + HMAC of `<X-Deployd-Timestamp>.<body>`."""
    stamp = headers.get("x-deployd-timestamp", "")
    signed = stamp.encode("utf-8", "surrogateescape") + b"." + body
    return by_hex(secret, signed, headers.get("x-deployd-signature"), prefix="sha256=") and recent(stamp, now=now)


def recent(stamp: str, *, now: float) -> bool:
    """Whether a time in Unix seconds is at most 5 minutes from now."""
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):  # noqa: PLR2004 - seconds until the year 33658
        return False
    return abs(int(stamp) - now) <= TOLERANCE


def _keys(secret: Secret) -> Iterable[bytes]:
    text = secret.reveal()
    yield text.encode()
    if text.startswith(_PREFIX):
        try:
            yield base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except (binascii.Error, ValueError):
            return
