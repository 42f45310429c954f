"""path -> whether a file of that name can hold secrets, and so never travels."""

from __future__ import annotations

import re

_NAMES = re.compile(
    r"""\.env(?:\..+)? | \.npmrc | \.yarnrc(?:\.yml)? | \.netrc | \.git-credentials | \.pgpass | \.htpasswd
      | id_(?:rsa|dsa|ecdsa|ed25519) | .+\.(?:pem|key|p12|pfx|jks|keystore|kdbx)""",
    re.VERBOSE | re.IGNORECASE,
)
_FOLDERS = {".git", ".ssh", ".aws", ".gnupg"}
_EXAMPLES = re.compile(r"\.env\.(?:example|sample|template|defaults?)", re.IGNORECASE)


def is_secret(path: str) -> bool:
    """Whether the file at `path` is left out; `node_modules` may hold certificates that a package needs (CA lists)."""
    *folders, name = path.split("/")
    if _FOLDERS.intersection(folders):
        return True
    if _EXAMPLES.fullmatch(name):
        return False
    if "node_modules" in folders and name.lower().endswith((".pem", ".key")):
        return False
    return _NAMES.fullmatch(name) is not None
