"""An app and environment come in; what visitors asked for there goes out, by release, route and host."""

from __future__ import annotations

import time
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from deployd.daemon.api.auth import Caller, daemon_of, require
from deployd.daemon.api.places import hosts_of
from deployd.daemon.api.shapes import App, Environment, HostId, Release
from deployd.daemon.wiring import Daemon
from deployd.domain import counted, traffic
from deployd.domain.ids import AppName, EnvironmentName

router = APIRouter(prefix="/v1/apps/{app}/environments/{environment}", tags=["environments"])
LONGEST = 366 * 86400.0


@router.get("/traffic")
def of_place(
    *,
    app: App,
    environment: Environment,
    _caller: Annotated[Caller, Depends(require("read"))],
    daemon: Annotated[Daemon, Depends(daemon_of)],
    host: Annotated[list[HostId] | None, Query(max_length=500)] = None,
    since: Annotated[float, Query(gt=0, le=LONGEST, description="Seconds back from now.")] = 900.0,
    release: Release | None = None,
) -> dict[str, Any]:
    """Requests, errors, times and vitals of the last `since` seconds: summed up, and each host's counts by the minute.

    Times are in milliseconds. A host that does not answer has its error, and what was kept of it before.
    """
    place = (AppName(app), EnvironmentName(environment))
    hosts = hosts_of(daemon, *place, host)
    daemon.store.hosts.some(hosts)
    missing = daemon.collector.fresh(daemon, place, hosts)
    now = time.time()
    found = daemon.store.traffic.window(*place, hosts=hosts, since=now - since, now=now)
    cells = [one for answer in found.values() for one in answer.cells if release in {None, one.release}]
    vitals = [one for answer in found.values() for one in answer.vitals if release in {None, one.release}]
    seconds = max((answer.seconds for answer in found.values()), default=0.0)
    return {
        "app": app,
        "environment": environment,
        "seconds": round(seconds, 3),
        "total": traffic.total(cells).to_json(seconds=seconds),
        **{
            f"by_{by}": [{by: name, **one.to_json(seconds=seconds)} for name, one in traffic.grouped(cells, by).items()]
            for by in traffic.BYS
        },
        **{
            f"vitals_by_{by}": [
                {by: name, "metrics": [one.to_json() for one in metrics]}
                for name, metrics in traffic.vitals_by(vitals, by).items()
            ]
            for by in traffic.BYS
        },
        "hosts": [
            {
                "name": name,
                "error": missing[name].fields() if name in missing else None,
                **counted.to_json(answer),
            }
            for name, answer in found.items()
        ],
    }
