"""Apps of every kind, live on a host (`make test-matrix`): `deployd init --yes && deployd release`, and no edit.

Each is made from nothing, asked through the web server, and looked at with `trace`, `package` and `diff`.
`-k express` runs a part.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.support import live, moresites, nodesites, pagesites, sites, strangersites
from tests.support.workbench import Workbench
from tests.support.world import no_request_failed

if TYPE_CHECKING:
    from tests.support.sites import Site
    from tests.support.world import World

KINDS: dict[str, Site] = {
    # plain servers
    "bare-fixed-port": nodesites.bare(),
    "bare-esm-empty-lock": nodesites.bare(address="process.env.PORT || 3000, '::'", esm=True, lock=True),
    "no-package-json": nodesites.no_package(),
    "express-generated": nodesites.generated(),
    "express-typescript": nodesites.compiled(),
    "koa-api": nodesites.api(),
    "hono-bundled": nodesites.bundled(),
    "fastify-tsc": sites.fastify(),
    "fastify-tsup": nodesites.tsup(),
    "nest": sites.nest(),
    "cluster": nodesites.cluster(),
    "websocket": nodesites.sockets(),
    "tsx": nodesites.typescript(),
    "node-types": nodesites.typescript(runner="node src/index.ts"),
    # Next.js behind a server of its own
    "next-own-server": replace(sites.next_custom("15.5"), asks=(("/", 200, "hello from pages"),)),
    "next-own-typescript": nodesites.next_typescript(sites.next_needs("14.2")),
    # frameworks with a server
    "nuxt": replace(sites.nuxt(), asks=(("/api/time", 200, "hello"),)),
    "astro": sites.astro(server=True),
    "astro-middleware": pagesites.astro_middleware(),
    "sveltekit": pagesites.sveltekit(),
    "sveltekit-auto": sites.sveltekit(adapter="auto"),
    "sveltekit-own-server": pagesites.sveltekit(own=True),
    "react-router": sites.react_router(),
    "remix": pagesites.remix(),
    # pages
    "vite-react": pagesites.vite("react"),
    "vite-vue-base": pagesites.vite("vue", base="/app/", router=False),
    "vite-svelte": pagesites.vite("svelte"),
    "serve-own-build": pagesites.served(),
    "plain": replace(sites.plain(), manager="", asks=(("/about", 200, "about"), ("/gone", 404, "gone"))),
    "astro-pages": replace(sites.astro(server=False), asks=(("/about/", 200, "about"),)),
    "eleventy": replace(sites.eleventy(), asks=(("/about/", 200, "about"),)),
    "vitepress": pagesites.vitepress(),
    "react-router-pages": sites.react_router(ssr=False),
    "sveltekit-pages": sites.sveltekit(adapter="static"),
    "next-export": pagesites.next_export(),
    "next-export-slash": pagesites.next_export(slash=True),
    "next-export-base": pagesites.next_export("15.5", base_path="/docs"),
    # monorepos
    **{
        f"monorepo-{name}": replace(sites.monorepo(name.removesuffix("-1")), manager=name.removesuffix("-1"))
        for name in ("npm", "pnpm", "yarn", "bun")
    },
    "monorepo-yarn-1": sites.monorepo_yarn_1(),
    "turborepo": pagesites.turborepo(),
    "turborepo-yarn-4": moresites.turborepo_next("yarn"),
    "turborepo-bun": moresites.turborepo_next("bun"),
    "turborepo-pnpm": moresites.turborepo_next("pnpm", line="15.5"),
    # servers in TypeScript run by tsx, and what generators make
    "hono-tsx": moresites.hono(),
    "fastify-tsx": moresites.fastify(),
    "koa-tsx": moresites.koa(),
    "express-tsx-bun": moresites.express(),
    "nest-monorepo": moresites.nest_monorepo(),
    "solid-start": moresites.solid_start(),
    "docusaurus": moresites.docusaurus(),
    "migrating": moresites.migrating(),
    "built-from-source": strangersites.built_from_source(),
    "node-sqlite": strangersites.node_sqlite(),
    "lone-mjs": strangersites.lone_mjs(),
    "fastify-cli-typescript": strangersites.fastify_cli(),
    "next-pnpm-catalog": strangersites.next_catalog(),
}


LOOKED_AT = ("express-generated", "sveltekit", "plain", "next-own-server", "monorepo-pnpm", "next-export-base")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    return Workbench(tmp_path_factory.mktemp("locks"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_strangers_app_goes_live_without_an_edit(world: World, bench: Workbench, kind: str) -> None:
    release = goes_live(world, KINDS[kind], bench)
    if kind in LOOKED_AT:
        looks_at(world, KINDS[kind], release)


def goes_live(world: World, site: Site, bench: Workbench) -> str:
    """Init, release, ask; returns the release's id."""
    live.put(world, site, bench)
    went = live.go(world, site)
    assert went.init["problems"] == []
    assert went.init["found"]["runs"]
    first = went.told.last
    assert first["outcome"] == "live"
    assert live.changed_since(world.app) == []
    live.asked(world, site)
    return str(first["release"])


def looks_at(world: World, site: Site, first: str) -> None:
    """What a person may look at, and a second release from a packaged file."""
    at = ("-C", str(world.app / site.folder))
    traced = live.document(world.run("trace", "--json", *at, timeout=600))
    paths = [file["path"] for file in traced["files"]]
    assert paths == sorted(paths)
    assert len(paths) == len(set(paths))
    world.run("trace", "--tree", *at)
    why = world.run("trace", "--why", paths[-1], "--json", *at)
    assert paths[-1] in why.out
    file = world.folder / "made.tar.gz"
    packed = world.run("package", "-o", str(file), "--json", *at).events[-1]
    assert packed["files"] > 0
    assert file.stat().st_size > 0

    (world.app / site.folder / "notes.txt").write_text("one more\n")
    live.commit(world.app)
    released = world.run("release", "--artifact", str(file), "--json", "--yes", *at, timeout=600).last
    assert released["outcome"] == "live"
    live.asked(world, site)
    told = json.loads(world.run("diff", first, released["release"], "--json", *at).out)
    assert told


def test_a_cluster_drops_no_request(world: World, bench: Workbench) -> None:
    """Releases, a restart and a rollback of a server that forks, under load: its workers are waited for."""
    site = KINDS["cluster"]
    goes_live(world, site, bench)
    with world.load(path="/slow") as slow, world.load() as quick:
        for number in range(3):
            (world.app / "server.js").write_text(site.files["server.js"] + f"// {number}\n")
            live.commit(world.app)
            world.run("release", "--yes")
        world.run("restart", "--yes")
        world.run("rollback", "--yes")
    no_request_failed(quick)
    assert slow["failed"] == 0, slow["failures"]
