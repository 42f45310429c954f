"""A word of a call comes in, whether it is one of its kind goes out."""

from __future__ import annotations

from deployd_host.replies import bad_request

PATTERNS = {
    "app": r"(?=.{1,30}\Z)[a-z](?:[a-z0-9-]*[a-z0-9])?",
    "environment": r"[a-z][a-z0-9]{0,15}",
    "release": r"[0-9]{8}-[0-9]{6}-[0-9a-z]{7}-[0-9a-z]{4}",
    "release or none": r"[0-9]{8}-[0-9]{6}-[0-9a-z]{7}-[0-9a-z]{4}|none",
    "runtime": r"node-[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}-linux-(?:x64|arm64)-(?:glibc|musl)",
    "deployment": r"[A-Za-z0-9_-]{1,64}",
    "share": r"[A-Za-z0-9_-]{32,64}",
    "label": r"[a-z0-9-]{1,63}",
    "bcrypt": r"\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}",
    "number": r"[0-9]{1,9}",
    "seconds": r"[0-9]{1,6}(?:\.[0-9]{1,6})?",
    "since": r"[0-9]{1,9}[smhd]|@[0-9]{1,12}(?:\.[0-9]{1,9})?",
    "sha256": r"[0-9a-f]{64}",
    "domain": (
        r"(?=.{1,253}\Z)(?:\*\.)?[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*"
    ),
    "token": r"[A-Za-z0-9_-]{16,200}",
    "acme answer": r"[A-Za-z0-9_-]{16,200}\.[A-Za-z0-9_-]{40,100}",
    "network": r"[0-9A-Fa-f:.]{2,45}(?:/[0-9]{1,3})?",
    "email": r"[A-Za-z0-9.!#$%&'*+/=?^_~-]+@[A-Za-z0-9.-]+",
    "https url": r"https://[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]+",
    "pem": r"(?:-----BEGIN [A-Z ]+-----\r?\n[A-Za-z0-9+/=\r\n]+-----END [A-Z ]+-----\s*)+",
    "variable": r"[A-Za-z_][A-Za-z0-9_]{0,254}",
    "url prefix": r"(?:/(?!\.\.?(?:/|\Z))[A-Za-z0-9._~-]+)+",
    "url": r"/[!-~]*",
    "host": r"[A-Za-z0-9.:\[\]_-]{1,255}",
}


def matches(kind: str, text: object) -> bool:
    """Whether `text` is a whole word of this kind."""
    import re

    return isinstance(text, str) and re.fullmatch(PATTERNS[kind], text) is not None


def checked(kind: str, text: str) -> str:
    """`text`, if it is a word of this kind."""
    if not matches(kind, text):
        raise bad_request(f"{text[:80]!r} is not a valid {kind}")
    return text
