"""OpenSSH public keys: a line of a `.pub` file comes in, a checked key and its line of authorized_keys go out."""

from __future__ import annotations

import base64
import binascii
import hashlib
import shlex
from dataclasses import dataclass

_TYPES = frozenset(
    {
        "ssh-ed25519",
        "sk-ssh-ed25519@openssh.com",
        "ecdsa-sha2-nistp256",
        "ecdsa-sha2-nistp384",
        "ecdsa-sha2-nistp521",
        "sk-ecdsa-sha2-nistp256@openssh.com",
        "ssh-rsa",
    }
)
_FIELDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """`line` is type and base64; `fingerprint` as ssh-keygen tells it."""

    line: str
    fingerprint: str


def parse(text: str) -> PublicKey:
    """Read the line; options in front of the key are refused. Raises ValueError."""
    words = text.split()
    if len(words) < _FIELDS or words[0] not in _TYPES:
        msg = "this is no public SSH key"
        raise ValueError(msg)
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError) as error:
        msg = "this is no public SSH key: its second word is no base64"
        raise ValueError(msg) from error
    name = words[0].encode()
    if not blob.startswith(len(name).to_bytes(4, "big") + name):
        msg = f"this key is not of the type {words[0]} that it begins with"
        raise ValueError(msg)
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")
    return PublicKey(line=f"{words[0]} {words[1]}", fingerprint=f"SHA256:{digest}")


def authorized(line: str, *, name: str, state_dir: str, program: str = "deployd") -> str:
    """The line of authorized_keys: this key can do nothing but push, and only through `deployd git-receive`."""
    command = shlex.join([program, "git-receive", "--state-dir", state_dir, "--key", name])
    quoted = command.replace("\\", "\\\\").replace('"', '\\"')
    return f'restrict,command="{quoted}" {line} {name}'
