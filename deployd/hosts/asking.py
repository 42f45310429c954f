"""A verb comes in, it runs on one host, its checked reply comes back, or an error that says what is live there."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

from deployd.errors import UnreachableError
from deployd.hosts import causes, refusals
from deployd.hosts.transport import UNKNOWN

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence

    from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId
    from deployd.hosts import verbs
    from deployd.hosts.transport import Transport

_T = TypeVar("_T")

QUICK = 60.0
LONG = 900.0  # hashing and syncing gigabytes on a slow disk


class Asking:
    """One host, and what was seen live there."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._live: dict[tuple[str, str], str] = {}

    @property
    def name(self) -> HostName:
        """The host's name."""
        return self.transport.name

    def _ask(
        self,
        argv: verbs.Argv,
        stdin: Mapping[str, Any] | bytes | None = None,
        *,
        parse: Callable[[Mapping[str, Any]], _T],
        timeout: float = QUICK,
        cancel: threading.Event | None = None,
    ) -> _T:
        document = stdin if isinstance(stdin, bytes) or stdin is None else json.dumps(stdin).encode()
        try:
            reply = self.transport.call(argv, stdin=document, timeout=timeout, cancel=cancel)
        except UnreachableError as error:
            seen = self._seen(argv)
            raise (error.but(live=f"{seen} when last asked") if seen else error) from error
        if reply.document is None:
            data = self._reply(argv, reply.exit, reply.stdout, reply.stderr)
        else:
            data = self._checked(argv, reply.document)
        try:
            return parse(data)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            said = json.dumps(dict(data)).encode()
            doing = " ".join(argv[:4])
            raise refusals.no_reply(reply.exit, said, f"{error!r}".encode(), host=self.name, doing=doing) from error

    def _reply(self, argv: verbs.Argv, exit_code: int, stdout: bytes, stderr: bytes) -> Mapping[str, Any]:
        if exit_code == UNKNOWN and not stdout:
            raise self._lost(argv)
        return self._checked(argv, self._parsed(argv, exit_code, stdout, stderr))

    def _checked(self, argv: verbs.Argv, data: Mapping[str, Any]) -> Mapping[str, Any]:
        if data.get("ok") is not True:
            error = refusals.refusal(data, host=self.name)
            seen = self._seen(argv)
            raise error.but(live=seen) if seen and not data.get("live") else error
        return data

    def _parsed(self, argv: verbs.Argv, exit_code: int, stdout: bytes, stderr: bytes) -> Mapping[str, Any]:
        try:
            data = json.loads(stdout)
        except ValueError as error:
            doing = " ".join(argv[:4])
            raise refusals.no_reply(exit_code, stdout, stderr, host=self.name, doing=doing) from error
        if not isinstance(data, dict):
            raise refusals.no_reply(exit_code, stdout, stderr, host=self.name, doing=" ".join(argv[:4]))
        return data

    def _lost(self, argv: Sequence[str]) -> UnreachableError:
        return causes.lost(
            self.name, address=self.transport.address, doing=" ".join(argv[:4]), live=self._seen(tuple(argv))
        )

    def _saw(self, app: AppName, environment: EnvironmentName, current: ReleaseId | None) -> None:
        if current:
            self._live[app, environment] = current
        else:
            self._live.pop((app, environment), None)

    def _seen(self, argv: verbs.Argv) -> str | None:
        return self._live.get((argv[1], argv[2])) if len(argv) > 2 else None  # noqa: PLR2004 - verb, app, environment
