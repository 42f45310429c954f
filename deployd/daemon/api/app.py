"""Makes the API: a daemon comes in, a FastAPI app goes out. A route that names no scope ends the start.

To add routes: a module beside this one with `router = APIRouter(...)`, a line in `ROUTERS`, and on every route either
`caller: Annotated[Caller, Depends(require("read"))]` or, for what answers everybody, `dependencies=[Depends(public)]`.
Handlers are plain `def`s (they run in threads) and find the daemon by `Annotated[Daemon, Depends(daemon_of)]`. Errors
are raised as DeploydErrors; problems.py turns them into problem+json.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute

from deployd import __version__
from deployd.daemon.api import (
    asking,
    auth,
    bounds,
    commands,
    hands,
    health,
    hooks,
    places,
    problems,
    pushes,
    recording,
    registry,
    revoking,
    rollouts,
    schedules,
    showing,
    tokens,
    traffic,
    uploads,
    visiting,
)

if TYPE_CHECKING:
    from deployd.daemon.wiring import Daemon

ROUTERS: tuple[APIRouter, ...] = (
    asking.router,
    rollouts.router,
    places.router,
    hands.router,
    visiting.router,
    traffic.router,
    commands.router,
    uploads.router,
    registry.router,
    tokens.router,
    hooks.router,
    pushes.router,
    schedules.router,
    showing.router,
    health.router,
)
"""Every module's routes, in the order of the documentation."""


def make_app(daemon: Daemon) -> FastAPI:
    """The API of a daemon; raises RuntimeError when a route has no door."""
    app = FastAPI(
        title="deployd",
        version=__version__,
        summary="Releases, rollbacks and what is live, for programs",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,  # health.py serves it: through the door, and without assets of strangers
        redirect_slashes=False,  # no forge follows one: an address with a slash too much is 404, and seen
    )
    app.state.daemon = daemon
    app.state.door = auth.Door(daemon)
    for router in ROUTERS:
        app.router.routes.extend(router.routes)  # as they are: `app.routes` is then the whole list
    problems.install(app)
    app.add_middleware(revoking.Revoking)
    app.add_middleware(recording.Recording)
    app.add_middleware(bounds.Bounds)
    check_doors(app)
    return app


def check_doors(app: FastAPI) -> None:
    """Every route goes through the door; one that does not is refused here, before anybody can call it."""
    for route in app.routes:
        if not isinstance(route, APIRoute) or not auth.has_door(route):
            msg = f"route {getattr(route, 'path', route)} has no door: add require(...) or public"
            raise RuntimeError(msg)
