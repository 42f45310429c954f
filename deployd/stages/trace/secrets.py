"""path -> whether a file of that name can hold secrets, and so never travels."""

from __future__ import annotations

import re

_NAMES = re.compile(
    r"""\.env.* | \.npmrc | \.yarnrc(?:\.yml)? | \.netrc | \.git-credentials | \.pgpass | \.htpasswd
      | id_(?:rsa|dsa|ecdsa|ed25519) | .+\.(?:pem|key|p12|pfx|jks|keystore|kdbx)""",
    re.VERBOSE | re.IGNORECASE,
)
_FOLDERS = {".git", ".ssh", ".aws", ".gnupg"}
_PUBLISHED = (".pem", ".key")  # in a package from a registry they are no secrets: lists of certificates, test keys


def is_secret(path: str) -> bool:
    """Whether the file or link at `path` is left out."""
    *folders, name = path.split("/")
    if _FOLDERS.intersection(folders) or name in _FOLDERS or any(folder.startswith(".env") for folder in folders):
        return True
    if "node_modules" in folders and name.lower().endswith(_PUBLISHED):
        return False
    return _NAMES.fullmatch(name) is not None
