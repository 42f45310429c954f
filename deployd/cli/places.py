"""What a person says of a new server comes in; its user, address and port go out, or what is wrong with it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from deployd.errors import HostKeyError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from deployd.domain.host import Host

_PLACE = re.compile(
    r"(?:(?P<user>[^@]+)@)?(?:\[(?P<six>[0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|(?P<name>[^:\[\]@]+))(?::(?P<port>\d+))?"
)
_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
_ADDRESS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]+(?:%[\w.-]+)?")
_FINGERPRINT = re.compile(r"(?:SHA256:)?[A-Za-z0-9+/]{43}=?")
_PRIVATE = b"PRIVATE KEY-----"
_PORTS = range(1, 65536)


def parse_place(text: str) -> tuple[str, str, int]:
    """`[USER@]ADDRESS[:PORT]` as user, address, port; an IPv6 address stands in brackets."""
    match = _PLACE.fullmatch(text)
    address = (match["six"] or match["name"]) if match else ""
    user = (match["user"] or "root") if match else ""
    port = int(match["port"] or 22) if match else 0
    if not match or not _ADDRESS.fullmatch(address) or not _USER.fullmatch(user) or port not in _PORTS:
        bare_six = text.count(":") > 1 and "[" not in text
        who, at, rest = text.rpartition("@")
        fix = (
            f"write an IPv6 address in brackets: {who}{at}[{rest}]"
            if bare_six
            else "write [USER@]ADDRESS[:PORT]: root@203.0.113.7"
        )
        raise UsageError(f"{text!r} is not an address", code="address-invalid", fix=fix)
    return user, address, port


def parse_identity(path: Path) -> Path:
    """The whole path of a file that holds a private key. (Whether it has a passphrase is not looked at.)"""
    file = path.expanduser().absolute()
    if not file.is_file():
        raise UsageError(f"there is no file {path}", code="identity-missing", fix="name the admin's private key")
    with file.open("rb") as handle:
        if _PRIVATE not in handle.read(200):
            raise UsageError(
                f"{path} is no private key",
                code="identity-invalid",
                fix="name the private half, in OpenSSH's or PEM form: its name has no .pub",
            )
    return file


def shown(address: str, port: int) -> str:
    """`ADDRESS:PORT` as `host add` takes it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def only_one_name(others: Sequence[Host], address: str, port: int) -> None:
    """A server under two names would be flipped twice by one rollout, which ends in the middle of it."""
    for other in others:
        if (other.address.lower(), other.port) == (address.lower(), port):
            raise UsageError(
                f"{address} port {port} is {other.name} already",
                code="host-known",
                fix=f"use that name, or remove it first: deployd host remove {other.name}",
            )


def parse_fingerprint(text: str) -> str:
    """`SHA256:...` as ssh-keygen tells it, with or without the word before it."""
    if _FINGERPRINT.fullmatch(text):
        return text
    raise UsageError(
        f"--fingerprint {text!r} is not a key's fingerprint",
        code="fingerprint-invalid",
        fix="write it as `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` tells it on the server: SHA256:...",
    )


def same_fingerprint(name: str, wanted: str, found: str) -> None:
    """Refuse a key that is not the one that was asked for."""
    if wanted.removeprefix("SHA256:").rstrip("=") != found.removeprefix("SHA256:").rstrip("="):
        raise HostKeyError(
            f"the key that {name} showed is another: {found}",
            host=name,
            live="not looked at: nothing was sent to it",
            fix=f"compare with the server's console; expected was {wanted}",
        )
