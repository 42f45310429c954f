"""Another system than the one that all other tests run on: Debian 13, from a bare server to releases of each kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployd import lab
from tests.live.test_static import at_root, release, release_site, writer
from tests.support.world import World, no_request_failed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from deployd.lab import Lab


def test_debian_13_from_bare_server_to_releases(make_lab: Callable[..., Lab], tmp_path: Path) -> None:
    name = make_lab(suite="trixie").name
    world = World(folder=tmp_path, hosts=lab.status(name), state=tmp_path / "state")
    world.add_hosts()
    world.run("host", "bootstrap", "web1", timeout=400)
    checked = world.run("host", "check", "web1", "--json").document
    assert [one for one in checked if one["level"] == "error"] == []
    assert any("debian 13" in one["what"] for one in checked)

    at_root(world)
    world.release("1")
    with world.load() as told:
        world.release("2")
        release_site(world, "3")
        world.run("rollback", "--yes")
    no_request_failed(told)
    world.assert_live("2")
    assert world.ask("/write")[1] in ("EROFS", "EACCES", "EPERM")
    release(world, writer(world, "4"))
    assert [world.ask(f"{path}?text=fresh")[1] for path in ("/new", "/write", "/")] == ["done", "done", "fresh"]
    assert world.ask("/break?text=evil")[1] in ("EACCES", "EPERM", "EROFS")
    world.run("restart", "--yes")
    assert world.ask("/")[1] == "fresh"
