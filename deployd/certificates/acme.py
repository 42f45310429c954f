"""An authority that speaks ACME (RFC 8555): requests go out signed by an account's key, its JSON comes back.

A small client of our own: what is needed are eight kinds of requests, over libraries that are here anyway; every ACME
library for Python brings a second HTTP stack along.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import ssl
import time
from typing import TYPE_CHECKING, Any, Self

from deployd.domain.secret import Secret
from deployd.errors import CancelledError, CertificateError

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping, Sequence

    import httpx
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_TRIES = 5
_WAIT = 120.0
_HALF = 32


class Account:
    """The key of an account at an authority; `thumbprint` goes into every answer to its questions."""

    def __init__(self, key: Secret) -> None:
        from cryptography.hazmat.primitives import serialization

        self._key: EllipticCurvePrivateKey = serialization.load_pem_private_key(key.reveal().encode(), password=None)  # type: ignore[assignment]
        point = self._key.public_key().public_numbers()
        self.jwk = {"crv": "P-256", "kty": "EC", "x": encode(point.x), "y": encode(point.y)}
        canonical = json.dumps(self.jwk, separators=(",", ":"), sort_keys=True).encode()
        self.thumbprint = encode(hashlib.sha256(canonical).digest())

    def sign(self, data: bytes) -> str:
        """ES256."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, utils

        first, second = utils.decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return encode(first.to_bytes(_HALF, "big") + second.to_bytes(_HALF, "big"))


def new_key() -> Secret:
    """A new key of curve P-256, as PEM: an account's, or a certificate's."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Secret(ec.generate_private_key(ec.SECP256R1()).private_bytes(*form).decode())


def encode(value: bytes | int) -> str:
    """Base64 as ACME wants it; a number is a coordinate of the curve."""
    data = value.to_bytes(_HALF, "big") if isinstance(value, int) else value
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Authority:
    """A session with an authority. Raises CertificateError `authority-unreachable` or `authority-refused`.

    `rejected` are the names that the last refusal was about, where it said so.
    """

    def __init__(
        self, directory: str, *, account: Account, root: str | None = None, cancel: threading.Event | None = None
    ) -> None:
        import httpx

        self.directory = directory
        self.account = account
        self.rejected: frozenset[str] = frozenset()
        self._cancel = cancel
        self._context = ssl.create_default_context()
        if root:
            try:
                self._context.load_verify_locations(cadata=root)
            except ssl.SSLError as error:
                raise CertificateError(
                    "acme_ca_root holds no certificate", code="certificate-unreadable", live="unchanged",
                    fix="name a PEM file: -----BEGIN CERTIFICATE-----",
                ) from error  # fmt: skip
        self._http = httpx.Client(
            verify=self._context, timeout=httpx.Timeout(30, connect=10), headers={"User-Agent": "deployd"}
        )
        self._urls: Mapping[str, str] = {}
        self._nonce: str | None = None
        self._account_url: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def login(self, *, email: str | None) -> None:
        """Find the account of the key at the authority, or make it."""
        self._urls = self._request("GET", self.directory).json()
        contact = {"contact": [f"mailto:{email}"]} if email else {}
        answer = self._post(self._urls["newAccount"], {"termsOfServiceAgreed": True, **contact})
        self._account_url = answer.headers["Location"]

    def order(self, names: Sequence[str]) -> tuple[str, Mapping[str, Any]]:
        """Begin an order; returns its address and what it says."""
        wanted = {"identifiers": [{"type": "dns", "value": name} for name in names]}
        answer = self._post(self._urls["newOrder"], wanted)
        return answer.headers["Location"], answer.json()

    def read(self, url: str) -> Mapping[str, Any]:
        """What an order, an authorization or a challenge says now."""
        found: Mapping[str, Any] = self._post(url, None).json()
        return found

    def tell(self, url: str, said: Mapping[str, Any]) -> None:
        """Say that a challenge is ready, or hand a request for a certificate over."""
        self._post(url, said)

    def text(self, url: str) -> str:
        """A certificate with its chain, as PEM."""
        found: str = self._post(url, None).text
        return found

    def wait(self, url: str, *, over: Sequence[str]) -> Mapping[str, Any]:
        """Read until the status is one of `over`. Raises CertificateError when it is invalid, or takes too long."""
        deadline = time.monotonic() + _WAIT
        pause = 0.25
        while True:
            found = self.read(url)
            if found["status"] in over:
                return found
            if found["status"] == "invalid":
                raise _refused(_problem_of(found), self.directory)
            if time.monotonic() > deadline:
                raise _refused({"detail": f"it is still {found['status']} after {_WAIT:g} s"}, self.directory)
            self._pause(pause)
            pause = min(5.0, pause * 1.5)

    def _pause(self, seconds: float) -> None:
        if self._cancel is None:
            time.sleep(seconds)
        elif self._cancel.wait(seconds) or self._cancel.is_set():
            raise CancelledError(
                "obtaining a certificate was cancelled", live="unchanged", fix="release again when ready"
            )

    def _post(self, url: str, payload: Mapping[str, Any] | None) -> httpx.Response:
        """POST, or POST-as-GET when there is no payload; a nonce that is used up is replaced."""
        for last in range(_TRIES):
            answer = self._request("POST", url, content=self._signed(url, payload))
            problem = _json(answer) if answer.status_code >= 400 else {}  # noqa: PLR2004 - HTTP's errors
            if not problem and answer.status_code < 400:  # noqa: PLR2004
                return answer
            if not str(problem.get("type", "")).endswith(":badNonce") or last == _TRIES - 1:
                self.rejected = _rejected(problem)
                raise _refused(problem or {"detail": f"HTTP {answer.status_code}"}, self.directory)
        raise AssertionError  # pragma: no cover - the loop returns or raises

    def _signed(self, url: str, payload: Mapping[str, Any] | None) -> str:
        who = {"kid": self._account_url} if self._account_url else {"jwk": self.account.jwk}
        head = {"alg": "ES256", "nonce": self._fresh_nonce(), "url": url, **who}
        protected = encode(json.dumps(head).encode())
        body = "" if payload is None else encode(json.dumps(payload).encode())
        return json.dumps(
            {"protected": protected, "payload": body, "signature": self.account.sign(f"{protected}.{body}".encode())}
        )

    def _fresh_nonce(self) -> str:
        if self._nonce is None:
            self._request("HEAD", self._urls["newNonce"])
        nonce, self._nonce = self._nonce, None
        return nonce or ""

    def _request(self, method: str, url: str, *, content: str | None = None) -> httpx.Response:
        import httpx

        try:
            answer = self._http.request(
                method, url, content=content, headers={"Content-Type": "application/jose+json"} if content else None
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise CertificateError(
                f"the authority {self.directory} does not answer: {error}",
                code="authority-unreachable",
                live="unchanged: what is served stays as it is",
                fix="let this machine reach it, or look at acme_directory and acme_ca_root; it is tried again",
                retryable=True,
            ) from error
        self._nonce = answer.headers.get("Replay-Nonce") or self._nonce
        return answer


def _json(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _problem_of(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Why something is invalid: its own error, or the first of its challenges'."""
    errors = [one["error"] for one in found.get("challenges", ()) if one.get("error")]
    problem: Mapping[str, Any] = found.get("error") or next(iter(errors), {})
    return problem


def _rejected(problem: Mapping[str, Any]) -> frozenset[str]:
    """The names that a refused order cannot have: those of its parts, or the one that it quotes when there is one."""
    parts = [one for one in problem.get("subproblems") or () if isinstance(one, dict)]
    named = {str((one.get("identifier") or {}).get("value")) for one in parts}
    if not named and str(problem.get("type", "")).endswith(":rejectedIdentifier"):
        named = set(re.findall(r'"([a-z0-9*._-]+)"', str(problem.get("detail"))))
    return frozenset(named)


def _refused(problem: Mapping[str, Any], directory: str) -> CertificateError:
    said = str(problem.get("detail") or problem.get("type") or "it did not say why")[:1000]
    more = [str(one.get("detail")) for one in problem.get("subproblems") or () if isinstance(one, dict)]
    limited = str(problem.get("type", "")).endswith(":rateLimited")
    return CertificateError(
        f"the authority refused: {said}",
        code="authority-refused",
        live="unchanged: what is served stays as it is",
        details="\n".join([f"authority: {directory}", *more]),
        fix="wait: it limits how often it may be asked" if limited else "`deployd domain check` says what to change",
        retryable=True,
    )
