"""One certificate for several names: an order is begun, each name is proven, and the chain with its new key goes out.

A name that the authority refuses (it leads elsewhere, or nowhere) is left out, and the others are certified. Who
answers the authority's questions is passed in: over http every host of the fleet does, over DNS an operator's command.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from deployd.certificates import acme
from deployd.errors import CertificateError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from deployd.certificates.acme import Authority
    from deployd.domain.secret import Secret

# These are said of no single name; neither is what no longer can be known, such as a cancelled wait.
_OF_ALL = frozenset({"authority-unreachable"})


class Answers(Protocol):
    """Makes an authority find the answers to its questions, and takes them away. Both may run twice."""

    def put(self, token: str, text: str) -> None:
        """Answer at `/.well-known/acme-challenge/<token>` with this text, wherever the name leads."""

    def take(self, token: str) -> None:
        """No longer."""

    def put_dns(self, name: str, value: str) -> None:
        """Make a TXT record of this name and value; comes back once it can be seen."""

    def take_dns(self, name: str, value: str) -> None:
        """No longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtained:
    """A certificate with its chain (PEM), and its key; `refused` says of names that it lacks why they were refused."""

    chain: str
    key: Secret
    refused: Mapping[str, CertificateError] = field(default_factory=dict)


def obtain(
    names: Sequence[str],
    *,
    authority: Authority,
    answers: Answers,
    email: str | None,
    worth: Callable[[Sequence[str]], bool] = bool,
) -> Obtained:
    """Have the names certified, or, where some are refused, those for which alone a certificate is `worth` it.

    Raises CertificateError: the first refusal when nothing is left, or what concerns all names (an authority that does
    not answer, or limits how often it may be asked). The answers are taken away in any case.
    """
    authority.login(email=email)
    wanted, refused = list(names), dict[str, CertificateError]()
    while True:
        url, more = _proven(wanted, authority, answers)
        refused |= more
        wanted = [name for name in wanted if name not in more]
        if not more and url:
            break
        if not worth(wanted):
            raise next(iter(refused.values()))
    key = acme.new_key()
    ready = authority.wait(url, over=("ready", "valid"))
    authority.tell(ready["finalize"], {"csr": acme.encode(request_of(wanted, key))})
    done = authority.wait(url, over=("valid",))
    return Obtained(chain=authority.text(done["certificate"]), key=key, refused=refused)


def _proven(
    names: Sequence[str], authority: Authority, answers: Answers
) -> tuple[str | None, dict[str, CertificateError]]:
    """An order with all of its names proven, or the names that were refused (and no order that is of use)."""
    try:
        url, order = authority.order(names)
    except CertificateError as error:
        told = {name: error.but(what=f"{name}: {error.what}") for name in names if name in authority.rejected}
        if told:
            return None, told
        raise
    refused = {}
    for one in order["authorizations"]:
        found = authority.read(one)
        name = ("*." if found.get("wildcard") else "") + str(found["identifier"]["value"])
        try:
            _prove(one, found, authority, answers)
        except CertificateError as error:
            if error.code in _OF_ALL:
                raise
            refused[name] = error.but(what=f"{name}: {error.what}")
    return (None if refused else url), refused


def _prove(url: str, found: Mapping[str, Any], authority: Authority, answers: Answers) -> None:
    """Answer one name's question, over DNS when it is a wildcard's."""
    if found["status"] == "valid":
        return
    name = str(found["identifier"]["value"])
    challenge = _challenge(found, "dns-01" if found.get("wildcard") else "http-01", name)
    token = str(challenge["token"])
    text = f"{token}.{authority.account.thumbprint}"
    record, value = f"_acme-challenge.{name}", acme.encode(hashlib.sha256(text.encode()).digest())
    try:
        if challenge["type"] == "dns-01":
            answers.put_dns(record, value)
        else:
            answers.put(token, text)
        authority.tell(challenge["url"], {})
        authority.wait(url, over=("valid",))
    finally:
        if challenge["type"] == "dns-01":
            answers.take_dns(record, value)
        else:
            answers.take(token)


def _challenge(found: Mapping[str, Any], kind: str, name: str) -> Mapping[str, Any]:
    challenge = next((one for one in found["challenges"] if one["type"] == kind), None)
    if challenge is None:
        raise CertificateError(
            f"the authority does not let {name} be proven by {kind}",
            code="authority-refused",
            live="unchanged: what is served stays as it is",
            fix="ask another authority (acme_directory), or bring a certificate (tls = { cert, key })",
        )
    found_one: Mapping[str, Any] = challenge
    return found_one


def request_of(names: Sequence[str], key: Secret) -> bytes:
    """A request for a certificate, in DER."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization

    private: Any = serialization.load_pem_private_key(key.reveal().encode(), password=None)
    wanted = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(wanted, critical=False)
    return made.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
