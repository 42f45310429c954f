"""A visitor's look at a name: where it leads, and what one address answers for it over http and https."""

from __future__ import annotations

import http.client
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.certificates import reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deployd.certificates.reading import Certificate

UNCERTIFIED = "no certificate for this name yet"
_WAIT = 10.0
_SECURE = 443


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back; `error` says why nothing did."""

    status: int | None = None
    location: str | None = None
    text: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """The certificate that is shown for a name; `distrust` is why a browser would not take it."""

    certificate: Certificate | None = None
    distrust: str | None = None
    error: str | None = None
    answer: Answer | None = None


def addresses(name: str) -> tuple[str, ...]:
    """The addresses of a name (A and AAAA), by this machine's resolver; none when it has none."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(one[4][0]).partition("%")[0] for one in found))


def ask_plain(name: str, address: str, port: int, path: str = "/") -> Answer:
    """GET over http from one address, as for `name`."""
    try:
        with socket.create_connection((address, port), _WAIT) as connection:
            return _ask(connection, name if port == 80 else f"{name}:{port}", path)  # noqa: PLR2004 - http
    except OSError as error:
        return Answer(error=_why(error))


def ask_secure(name: str, address: str, *, trusting: Sequence[Path] = ()) -> Shown:
    """Look at the certificate that one address shows for `name`, and GET its `/`; `trusting` are PEM files more."""
    strict = ssl.create_default_context()
    for file in trusting:
        strict.load_verify_locations(str(file))
    distrust = None
    for context in (strict, _careless()):
        try:
            with (
                socket.create_connection((address, _SECURE), _WAIT) as connection,
                context.wrap_socket(connection, server_hostname=name) as secured,
            ):
                shown = reading.read_der(secured.getpeercert(binary_form=True) or b"")
                return Shown(certificate=shown, distrust=distrust, answer=_ask(secured, name, "/"))
        except ssl.SSLCertVerificationError as error:
            distrust = error.verify_message
        except OSError as error:
            return Shown(error=_why(error))
    return Shown(error=distrust)


def _careless() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _ask(connection: socket.socket, host: str, path: str) -> Answer:
    asking = http.client.HTTPConnection(host, timeout=_WAIT)
    asking.sock = connection
    try:
        asking.request("GET", path, headers={"Host": host, "User-Agent": "deployd-check", "Connection": "close"})
        answer = asking.getresponse()
        text = answer.read(200).decode(errors="replace")
        return Answer(status=answer.status, location=answer.getheader("Location"), text=text)
    except (OSError, http.client.HTTPException) as error:
        return Answer(error=_why(error))


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ssl.SSLError) and "INTERNAL_ERROR" in str(error):
        return UNCERTIFIED
    return str(getattr(error, "strerror", None) or error) or type(error).__name__
