"""Certificates as frozen values: PEM or DER comes in, names, times and issuer go out; a pair is checked before use."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from deployd.domain import sites
from deployd.errors import CertificateError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.domain.secret import Secret

SOON = 14 * 86400.0
"""Seconds before its end from which a certificate is something to look at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """What a certificate says. `begins` and `ends` are seconds since the epoch; `issuer` is for people."""

    names: tuple[str, ...]
    begins: float
    ends: float
    issuer: str

    def left(self, now: float) -> float:
        """Seconds until it ends; negative once it has."""
        return self.ends - now

    def is_soon(self, now: float) -> bool:
        """Whether it ends so soon that somebody should look: in two weeks, or in a quarter of a shorter life."""
        return self.left(now) < min(SOON, (self.ends - self.begins) / 4)

    def is_due(self, now: float) -> bool:
        """Whether a third of its time or less is left: it is obtained anew from then on."""
        return self.left(now) <= (self.ends - self.begins) / 3

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        return {"names": list(self.names), "begins": when(self.begins), "ends": when(self.ends), "issuer": self.issuer}


def when(moment: float) -> str:
    """A moment in ISO 8601, of UTC."""
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def read_der(data: bytes) -> Certificate:
    """A certificate in DER. Raises CertificateError `certificate-unreadable`."""
    from cryptography import x509

    try:
        return _certificate(x509.load_der_x509_certificate(data))
    except ValueError as error:
        raise _unreadable("the certificate that is shown", error) from error


def read_chain(pem: str, *, what: str = "the certificate") -> Certificate:
    """The first certificate of a chain. Raises CertificateError `certificate-unreadable`."""
    from cryptography import x509

    try:
        return _certificate(x509.load_pem_x509_certificates(pem.encode())[0])
    except (ValueError, IndexError) as error:
        raise _unreadable(what, error) from error


def check_pair(chain: str, key: Secret, *, names: Sequence[str], now: float, what: str, live: str) -> Certificate:
    """See that a key is the certificate's, and that it is good now and for all names. Raises CertificateError.

    `what` names the certificate for people, `live` says what is served meanwhile.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    found = read_chain(chain, what=what)
    try:
        private = serialization.load_pem_private_key(key.reveal().encode(), password=None)
    except (ValueError, TypeError) as error:
        raise CertificateError(
            f"the key of {what} cannot be read: it is no PEM, or has a passphrase",
            code="certificate-unreadable",
            live=live,
            fix="give the key as PEM without a passphrase: openssl pkey -in KEY -out NEW",
        ) from error
    public = x509.load_pem_x509_certificates(chain.encode())[0].public_key()
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if private.public_key().public_bytes(*form) != public.public_bytes(*form):
        raise CertificateError(
            f"the key is not that of {what}",
            code="certificate-key-mismatch",
            live=live,
            fix="name the key that the certificate was asked with",
        )
    if not found.begins <= now < found.ends:
        late = now >= found.ends
        raise CertificateError(
            f"{what} {'expired at' if late else 'is good only from'} {when(found.ends if late else found.begins)}",
            code="certificate-expired",
            live=live,
            fix="renew it" if late else "wait, or look at this machine's clock",
        )
    missing = sites.uncovered(names, found.names)
    if missing:
        raise CertificateError(
            f"{what} is not good for {', '.join(missing)}: it names {', '.join(found.names) or 'nothing'}",
            code="certificate-names",
            live=live,
            fix="have it issued for every name in `domains`, or take those names out",
        )
    return found


def _certificate(found: Any) -> Certificate:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        named = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = tuple(named.get_values_for_type(x509.DNSName))
    except x509.ExtensionNotFound:
        names = ()
    issuer = found.issuer
    parts = [
        *issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME),
        *issuer.get_attributes_for_oid(NameOID.COMMON_NAME),
    ]
    return Certificate(
        names=names,
        begins=found.not_valid_before_utc.timestamp(),
        ends=found.not_valid_after_utc.timestamp(),
        issuer=" ".join(str(part.value) for part in parts),
    )


def _unreadable(what: str, error: Exception) -> CertificateError:
    return CertificateError(
        f"{what} cannot be read: {error}",
        code="certificate-unreadable",
        live="unchanged",
        fix="give it as PEM, with its chain: the file that begins with -----BEGIN CERTIFICATE-----",
    )
