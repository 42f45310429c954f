"""Hosts (and an app, or all of them) come in; they are drained or given back, and what each said goes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deployd.errors import HostError

if TYPE_CHECKING:
    from deployd.domain.ids import AppName, EnvironmentName
    from deployd.hosts.pool import Pool
    from deployd.store.store import Store

    Json = dict[str, Any]


def drain(
    store: Store, pool: Pool, place: tuple[AppName, EnvironmentName] | None, *, on: bool | None, who: str
) -> list[Json]:
    """Drain (True) or give back (False) the pool's hosts, or only look (None): `host`, `drained`, `changed`, `open`.

    `open` is how many requests wait for servers' answers, None where nobody can tell. A host that cannot be asked has
    `error`, as errors are told. Which hosts are drained as a whole is kept, so that `host list` knows it.
    """
    outcomes = pool.each(pool.names, lambda helper: helper.drain(on=on, place=place))
    told: list[Json] = []
    for name, one in outcomes.items():
        if isinstance(one, HostError):
            told.append({"host": str(name), "drained": [], "changed": False, "open": None, "error": one.to_json()})
            continue
        if place is None and on is not None:
            store.hosts.keep_drained(name, who if on else None)
        told.append({"host": str(name), "drained": list(one.drained), "changed": one.changed, "open": one.open})
    return told
