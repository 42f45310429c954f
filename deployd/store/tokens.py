"""Tokens: a secret goes out once, its hash stays; a text that claims to be a token comes in, and is one or is not."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from deployd.domain.daemon import Scope, Token
from deployd.domain.ids import AppName
from deployd.domain.secret import Secret
from deployd.errors import NotFoundError
from deployd.store.moments import now
from deployd.store.tables import tokens as table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.store.database import Database

_TEXT = re.compile(r"dpl_([0-9a-z]{10})_([0-9A-Za-z_-]{43})")


class Tokens:
    """Tokens by id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, *, scope: Scope, apps: Sequence[AppName], expires: str | None, note: str | None, who: str
    ) -> tuple[Token, Secret]:
        """Make a token; its secret is told here and never again."""
        name = secrets.token_hex(5)
        text = secrets.token_urlsafe(32)
        with self._database.write() as connection:
            connection.execute(
                sa.insert(table).values(
                    id=name,
                    sha256=hashlib.sha256(text.encode()).hexdigest(),
                    scope=scope,
                    apps=[str(app) for app in apps],
                    note=note,
                    created=now(),
                    who=who,
                    expires=expires,
                )
            )
        return self.get(name), Secret(f"dpl_{name}_{text}")

    def verify(self, text: str) -> Token | None:
        """The token that this text is, if it is valid now; the secret is compared in constant time."""
        parsed = _TEXT.fullmatch(text)
        row = self._row(parsed.group(1)) if parsed else None
        given = hashlib.sha256((parsed.group(2) if parsed else text).encode(errors="replace")).hexdigest()
        same = hmac.compare_digest(given, row.sha256 if row is not None else "0" * 64)
        return _token(row) if row is not None and same and _is_valid(row) else None

    def is_valid(self, name: str) -> bool:
        """Whether the token of this id is valid now."""
        row = self._row(name)
        return row is not None and _is_valid(row)

    def touch(self, token: Token) -> None:
        """Keep that it was used, at most once a minute."""
        at = now()
        if token.used is None or token.used[:16] != at[:16]:
            with self._database.write() as connection:
                connection.execute(sa.update(table).where(table.c.id == token.id).values(used=at))

    def get(self, name: str) -> Token:
        """One token; raises NotFoundError."""
        row = self._row(name)
        if row is None:
            raise NotFoundError(f"there is no token {name!r}", code="token-unknown", fix="see `deployd token list`")
        return _token(row)

    def all(self) -> tuple[Token, ...]:
        """All tokens, oldest first, revoked ones too."""
        with self._database.read() as connection:
            return tuple(_token(row) for row in connection.execute(sa.select(table).order_by(table.c.created)))

    def revoke(self, name: str) -> Token:
        """Let a token be valid no more; raises NotFoundError."""
        self.get(name)
        with self._database.write() as connection:
            connection.execute(
                sa.update(table).where(table.c.id == name, table.c.revoked.is_(None)).values(revoked=now())
            )
        return self.get(name)

    def _row(self, name: str) -> Any:
        with self._database.read() as connection:
            return connection.execute(sa.select(table).where(table.c.id == name)).first()


def _is_valid(row: Any) -> bool:
    return not row.revoked and not (row.expires and row.expires <= now())


def _token(row: Any) -> Token:
    return Token(
        id=row.id,
        scope=row.scope,
        apps=tuple(AppName(app) for app in row.apps),
        note=row.note,
        created=row.created,
        who=row.who,
        expires=row.expires,
        revoked=row.revoked,
        used=row.used,
    )
