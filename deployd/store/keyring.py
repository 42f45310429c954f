"""The key that encrypts variables: names and values come in, sealed bytes go out, and back.

AES-256-GCM. What a value belongs to (`app|environment|name|version`) is authenticated with it, so that a row copied to
another place does not open there. The key's id is kept beside each value, so that a wrong key file is told as such.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING

from deployd.domain.secret import Secret
from deployd.errors import DeploydError

if TYPE_CHECKING:
    from pathlib import Path

    from deployd.store.facts import Facts

_KEY_BYTES = 32
_NONCE_BYTES = 12


class Keyring:
    """One key file, 0600, made when the first value is sealed.

    `facts` tell what the database has sealed already: then no new one is made. Where several machines share the
    database (`shared`) every machine must have the same one: the database knows which.
    """

    def __init__(self, file: Path, facts: Facts | None = None, *, shared: bool = False) -> None:
        self._file = file
        self._facts = facts
        self._shared = shared
        self._key: bytes | None = None

    @property
    def key_id(self) -> str:
        """Names the key without telling it."""
        return _id_of(self._load())

    def seal(self, value: Secret, *, belongs_to: str) -> bytes:
        """Encrypt; a fresh nonce stands in front."""
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + AESGCM(self._load()).encrypt(nonce, value.reveal().encode(), belongs_to.encode())

    def open(self, sealed: bytes, *, belongs_to: str, key_id: str) -> Secret:
        """Decrypt; raises DeploydError when the key is another one, or the value belongs elsewhere."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        if key_id != self.key_id:
            raise DeploydError(
                f"the variables were encrypted with key {key_id}, and {self._file} holds key {self.key_id}",
                code="key-wrong",
                fix="put the right key file back, or set the variables again",
            )
        try:
            clear = AESGCM(self._load()).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], belongs_to.encode())
        except InvalidTag as error:
            raise DeploydError(
                f"the stored value of {belongs_to.replace('|', ' ')} was tampered with or is damaged",
                code="value-damaged",
                fix="set the variable again; find out who else writes to the database",
            ) from error
        return Secret(clear.decode())

    def sign(self, text: str) -> str:
        """What only this key makes of a text (32 hexadecimal digits): for links that nobody can guess."""
        own = hmac.digest(self._load(), b"deployd links", "sha256")
        return hmac.digest(own, text.encode(), "sha256").hex()[:32]

    def check(self) -> None:
        """Raise DeploydError when the key that the database's secrets were sealed with is missing or another one."""
        if self._shared or (self._facts and self._facts.sealed_with() is not None):
            self._load()

    def _load(self) -> bytes:
        if self._key is None:
            key = _read(self._file)
            known = self._facts.key_id() if self._facts and self._shared else None
            if key is None:
                self._refuse_another(known)
            key = key or _make(self._file)
            if self._facts and self._shared and known is None:
                known = self._facts.keep_key_id(_id_of(key))
            if known is not None and known != _id_of(key):
                raise DeploydError(
                    f"the database's secrets were sealed with key {known}, and {self._file} holds key {_id_of(key)}",
                    code="key-wrong",
                    fix="copy the key file from a machine whose daemon uses this database (mode 0600)",
                )
            self._key = key
        return self._key

    def _refuse_another(self, known: str | None) -> None:
        """A missing key is made anew only where nothing was sealed with it: else nobody could open what is kept."""
        sealed = known or (self._facts.sealed_with() if self._facts else None)
        if sealed is None:
            return
        where = " or from a machine whose daemon uses this database" if self._shared else ""
        raise DeploydError(
            f"the database's secrets were sealed with key {sealed}, and {self._file} is missing",
            code="key-missing",
            live="apps serve on",
            fix=f"put the key file back from the backup{where} (mode 0600, the owner of the folder); "
            'if there is none: docs/daemon.md, "The key is lost"',
        )


def _id_of(key: bytes) -> str:
    return hashlib.sha256(b"deployd key id" + key).hexdigest()[:12]


def _read(file: Path) -> bytes | None:
    try:
        mode = file.stat().st_mode
        key = bytes.fromhex(file.read_text().strip())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DeploydError(f"{file} holds no key", code="key-wrong", fix="put the right key file back") from error
    if mode & 0o077:
        raise DeploydError(
            f"{file} can be read by others", code="key-open", fix=f"chmod 600 {file}; then change the secrets it sealed"
        )
    if len(key) != _KEY_BYTES:
        raise DeploydError(f"{file} holds no key", code="key-wrong", fix="put the right key file back")
    return key


def _make(file: Path) -> bytes:
    """Write a fresh key aside and link it into place: of two processes one wins, and both read the same key."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(secrets.token_hex(_KEY_BYTES) + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    try:
        os.link(aside, file)
    except FileExistsError:
        pass
    finally:
        aside.unlink()
    key = _read(file)
    if key is None:
        raise DeploydError(f"{file} could not be made", code="key-wrong", fix="see who else writes to its folder")
    return key
