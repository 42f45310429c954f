"""Visitors of real servers are counted where they are served, and a release that fails them goes back by itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.world import World

BROKEN = """
setImmediate(() => {
  const emit = server.emit;
  server.emit = function (name, request, response) {
    if (name !== "request" || !request.url.startsWith("/checkout")) return emit.apply(this, arguments);
    response.statusCode = 500;
    response.end("broken");
    return true;
  };
});
"""


def until(holds: Callable[[], bool], *, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def route(world: World, name: str) -> dict[str, Any]:
    found = world.run("traffic", "--since", "10m", "--json").document["by_route"]
    return next((one for one in found if one["route"] == name), {"requests": 0, "errors": 0})


def test_a_release_that_breaks_a_route_goes_back_by_itself(world: World) -> None:
    world.write_toml('[rollout]\nbake = "20s"\nstrategy = "canary"\n')
    first = world.release("1").last["release"]
    with world.load(path="/checkout", connections=4, pause=0.01) as told:
        until(lambda: route(world, "/checkout")["requests"] > 200)
        broken = world.release("2", check=1, before=BROKEN)

    assert broken.error["code"] == "bake-failed"
    assert ", route /checkout" in broken.error["what"]
    flipped = [one["host"] for one in broken.events if one["event"] == "release_flipped"]
    assert flipped == [world.hosts[0].name], "the other host never had it"
    assert broken.last["outcome"] == "failed"
    world.assert_live("1")
    releases = {one["id"]: one["mark"] for one in world.run("releases", "--json").document}
    bad = broken.last["release"]
    assert (releases[first], releases[bad]) == (None, "bad")

    # what the load met is what was counted, on both hosts together
    assert told["failed"] > 0
    until(lambda: route(world, "/checkout")["requests"] == told["requests"])
    assert route(world, "/checkout")["errors"] == told["failed"]
    table = world.run("traffic", "--since", "10m").out
    assert first in table
    assert bad in table
    assert all(host.name in table for host in world.hosts)
