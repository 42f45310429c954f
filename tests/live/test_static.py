"""Sites without a process, and servers that write over pages of their build, on real servers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from deployd import lab
from tests.lab.conftest import hosts_lab
from tests.support import apps
from tests.support.world import no_request_failed

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.world import Told, World


def release(world: World, artifact: Path, *words: str, check: int | None = 0) -> Told:
    return world.run("release", "--artifact", str(artifact), "--json", *words, check=check)


def release_site(world: World, version: str, *words: str) -> Told:
    return release(world, apps.make_site(version, into=world.folder), *words)


def at_root(world: World) -> None:
    """Sites have no /health."""
    text = (world.app / "deployd.toml").read_text().replace('path = "/health"', 'path = "/"')
    (world.app / "deployd.toml").write_text(text)


def units(world: World) -> list[str]:
    """The app's units that systemd has loaded on the first host, and what they do."""
    told = lab.run(
        hosts_lab(world.hosts), world.hosts[0].name,
        ["systemctl", "list-units", "--all", "--plain", "--no-legend", f"deployd-{world.name}-production*"],
    )  # fmt: skip
    return [line.split()[0] for line in told.text.splitlines() if line.split()[2:3] == ["active"]]


def test_a_site_is_released_and_rolled_back_under_load_without_a_process(world: World) -> None:
    at_root(world)
    first = release_site(world, "1").last["release"]
    with world.load() as told:
        release_site(world, "2")
        release_site(world, "3")
        world.run("rollback", "--yes")
        world.run("rollback", first, "--yes")
        release_site(world, "4")

    no_request_failed(told)
    assert len(told["releases"]) == 4
    world.assert_live("4")
    assert units(world) == []
    assert [world.ask(f"/assets/app-{version}.js")[0] for version in "1234"] == [200] * 4
    status, body, headers = world.ask("/about")
    assert (status, body[:7], headers["cache-control"]) == (200, "about 4", "no-cache")
    assert world.ask("/gone")[:2] == (404, "nothing 4")
    assert world.ask("/.deployd/health")[:2] == (200, "ok")
    for verb in (("restart", "--yes"), ("exec", "--", "true"), ("logs",)):
        said = world.run(*verb, check=None)
        assert said.code != 0
        assert "static site" in said.err
    assert not lab.run(
        hosts_lab(world.hosts), world.hosts[0].name, ["pgrep", "-u", f"dpl-{world.name}-production"], check=False
    ).text


def test_from_server_to_site_and_back_is_a_flip(world: World) -> None:
    at_root(world)
    server = world.release("1").last["release"]
    with world.load() as told:
        release_site(world, "2")
        world.assert_live("2")
        world.run("rollback", server, "--yes")
        world.assert_live("1")
        release_site(world, "3")

    no_request_failed(told)
    assert world.ask("/_next/static/chunk-1.js")[0] == 200
    assert {host["state"] for host in world.status()["hosts"]} == {"live"}


def test_a_site_that_does_not_answer_is_not_flipped_to(world: World) -> None:
    at_root(world)
    release_site(world, "1")
    toml = (world.app / "deployd.toml").read_text()
    (world.app / "deployd.toml").write_text(
        toml.replace('path = "/"', 'path = "/gone"').replace('timeout = "15s"', 'timeout = "1s"')
    )

    told = release(world, apps.make_site("2", into=world.folder), check=None)

    assert told.code != 0
    assert "/gone" in told.out + told.err
    assert world.versions() == ["version 1\n".strip()] * len(world.hosts)


WRITER = """
const http = require("node:http"), fs = require("node:fs"), path = require("node:path");
const pages = path.join(__dirname, "web/.next/server/app");
const code = require("./web/.next/server/app/page.js");
const tried = (run) => { try { return run() ?? "done"; } catch (error) { return error.code; } };
http.createServer((request, response) => {
  const url = new URL(request.url, "http://x"), text = url.searchParams.get("text");
  const answers = {
    "/health": () => "ok",
    "/": () => fs.readFileSync(pages + "/index.html", "utf8"),
    "/write": () => { fs.writeFileSync(pages + "/index.html", text); fs.writeFileSync(pages + "/new/deep.html", text); },
    "/new": () => { fs.mkdirSync(pages + "/new", { recursive: true }); },
    "/deep": () => fs.readFileSync(pages + "/new/deep.html", "utf8"),
    "/code": () => code() + fs.realpathSync(pages + "/page.js").endsWith("/web/.next/server/app/page.js"),
    "/break": () => fs.writeFileSync(pages + "/page.js", text),
    "/remove": () => fs.unlinkSync(pages + "/page.js"),
    "/replace": () => { fs.writeFileSync(pages + "/x.js", text); fs.renameSync(pages + "/x.js", pages + "/page.js"); },
    "/outside": () => fs.writeFileSync(__dirname + "/web/.next/server/chunk.js", text),
  };
  response.end(String(tried(answers[url.pathname] ?? (() => "?"))));
}).listen(process.env.PORT);
"""


def writer(world: World, version: str) -> Path:
    contents = {
        "server.js": WRITER,
        "web/.next/server/chunk.js": f"module.exports = 'chunk {version} ';",
        "web/.next/server/app/page.js": "module.exports = () => require('../chunk.js');",
        "web/.next/server/app/index.html": f"version {version}\n",
    }
    return apps.pack(
        world.folder / f"writer-{version}", contents, writable={"cache": "web/.next/cache"},
        seeded={"server-app": "web/.next/server/app"},
    )  # fmt: skip


def test_pages_that_a_server_writes_over_are_its_releases_own(world: World) -> None:
    """As Next.js 13 and 14 do: it survives a restart, leaks into no other release, and goes with its own."""
    first = release(world, writer(world, "1")).last["release"]
    world.assert_live("1")
    assert world.ask("/code")[1] == "chunk 1 true"
    assert [world.ask(f"{path}?text=fresh")[1] for path in ("/new", "/write")] == ["done", "done"]
    assert (world.ask("/")[1], world.ask("/deep")[1]) == ("fresh", "fresh")
    world.run("restart", "--yes")
    assert (world.ask("/")[1], world.ask("/deep")[1]) == ("fresh", "fresh")

    for path in ("/break", "/remove", "/replace", "/outside"):
        assert world.ask(f"{path}?text=evil")[1] in ("EACCES", "EPERM", "EROFS"), path
    assert world.ask("/code")[1] == "chunk 1 true"
    sealed = f"/srv/deployd/apps/{world.name}/production/releases/{first}/web/.next/server/app/index.html"
    host = (hosts_lab(world.hosts), world.hosts[0].name)
    assert lab.run(*host, ["cat", sealed]).text == "version 1\n"

    second = release(world, writer(world, "2")).last["release"]
    assert (world.ask("/")[1], world.ask("/deep")[1]) == ("version 2\n", "ENOENT")
    world.run("rollback", "--yes")
    assert world.ask("/")[1] == "fresh"
    seeded = f"/srv/deployd/apps/{world.name}/production/seeded"
    assert sorted(lab.run(*host, ["ls", seeded]).text.split()) == sorted([first, second])
    keep = json.dumps({"keep": [first], "protect": []})
    prune = f"/usr/local/sbin/deployd-host prune {world.name} production"
    stop = f"systemctl stop 'deployd-{world.name}-production-1@{second}.service'"
    pruned = lab.run(*host, ["sh", "-c", f"{stop} && echo '{keep}' | {prune}"])
    assert second in json.loads(pruned.text)["removed"]
    assert lab.run(*host, ["ls", seeded]).text.split() == [first]
