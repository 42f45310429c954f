"""A file of the app -> whether it can hold secrets, by its name or as a key by its content, and so never travels."""

from __future__ import annotations

import os
import re
import stat

_NAMES = re.compile(
    r"""\.env.* | .+\.env | \.dev\.vars.* | \.npmrc | \.yarnrc(?:\.yml)? | \.netrc | \.git-credentials | \.pgpass
      | \.htpasswd | \.pypirc | \.vault-token | id_(?:rsa|dsa|ecdsa|ed25519)(?:_sk)?
      | .+\.(?:pem|key|ppk|p12|pfx|jks|keystore|kdbx|tfstate)""",
    re.VERBOSE | re.IGNORECASE,
)
_FOLDERS = {".git", ".ssh", ".aws", ".gnupg", ".docker", ".kube"}
_PUBLISHED = (".pem", ".key")  # in a package from a registry they are no secrets: lists of certificates, test keys

# Keys by their content, where a name says nothing: a service account's JSON, a key without a suffix.
_MOST = 32 << 10  # bytes
_KEY = rb"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----"
_IN_JSON = re.compile(rb'"(?:private_?key|key)"\s*:\s*"' + _KEY, re.IGNORECASE)
_AT_START = re.compile(rb"\s*" + _KEY)


def is_secret(path: str) -> bool:
    """Whether the file or link at `path` is left out."""
    *folders, name = path.split("/")
    if _FOLDERS.intersection(folders) or name in _FOLDERS or any(folder.startswith(".env") for folder in folders):
        return True
    if "node_modules" in folders and name.lower().endswith(_PUBLISHED):
        return False
    return _NAMES.fullmatch(name) is not None


def holds_key(path: str, *, source: str, size: int) -> bool:
    """Whether the app's own file at `path` is a private key, or JSON with one. `source` is the file on this machine.

    Packages and the build's own folder are not looked into.
    """
    *folders, name = path.split("/")
    suffix = name.rpartition(".")[2].lower() if "." in name.lstrip(".") else ""
    if suffix not in {"json", "txt", ""} or not 0 < size <= _MOST or {"node_modules", ".next"}.intersection(folders):
        return False
    content = _read(source)
    return (_IN_JSON.search(content) if suffix == "json" else _AT_START.match(content)) is not None


def _read(source: str) -> bytes:
    """A plain file's content; nothing of anything else, and never by waiting."""
    try:
        with os.fdopen(os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            return file.read(_MOST) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
    except OSError:
        return b""
