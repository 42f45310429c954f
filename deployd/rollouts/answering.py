"""An authority's questions come in; every host answers them over http, and the machine's own command over DNS."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from deployd import process, settings
from deployd.errors import CertificateError, CommandError, HostError
from deployd.rollouts.fleet import raise_first

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deployd.domain.ids import HostName
    from deployd.hosts.pool import Pool

_DNS_WAIT = 900.0


class Hosts:
    """Answers an authority's questions: over http on every host, over DNS by the machine's own command."""

    def __init__(self, pool: Pool, hosts: Sequence[HostName]) -> None:
        self._pool = pool
        self._hosts = hosts

    def put(self, token: str, text: str) -> None:
        """On every host that can be reached; nobody asks one that is down."""
        outcomes = self._pool.each(self._hosts, lambda helper: helper.answer(token, text))
        if all(isinstance(one, HostError) for one in outcomes.values()):
            raise_first(outcomes, live="unchanged")

    def take(self, token: str) -> None:
        """What stays behind goes within an hour of the next one."""
        self._pool.each(self._hosts, lambda helper: helper.answer(token, None))

    def put_dns(self, name: str, value: str) -> None:
        """By the command of the setting `acme_dns`."""
        self._run("set", name, value)

    def take_dns(self, name: str, value: str) -> None:
        """A record that stays harms nobody."""
        try:
            self._run("remove", name, value)
        except CertificateError:
            return

    def _run(self, doing: str, name: str, value: str) -> None:
        command = dns_command()
        if not command:
            raise CertificateError(
                "a wildcard is proven over DNS, and this machine has no command for that",
                code="acme-dns-missing",
                live="unchanged: what is served stays as it is",
                fix="set `acme_dns` in the machine's configuration (docs/domains.md), or bring a certificate",
            )
        try:
            process.run([*shlex.split(command), doing, name, value], timeout=_DNS_WAIT)
        except CommandError as error:
            raise CertificateError(
                f"`{command}` did not {doing} the record {name}",
                code="acme-dns-failed",
                live="unchanged: what is served stays as it is",
                details=error.details,
                fix="run it by hand; its last words are above",
            ) from error


def dns_command() -> str | None:
    """The machine's command that makes records in DNS, for wildcards; previews of several hosts have one."""
    command = settings.in_force().get("acme_dns")
    return str(command) if command else None
