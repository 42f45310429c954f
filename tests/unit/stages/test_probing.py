"""What `init` says about an app: the page that tells of its health, what was found, and what is assumed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from deployd.stages.build import explained, framework, ownsources, probing
from tests.support import nodesites, sites

if TYPE_CHECKING:
    from pathlib import Path

NEXT = {"package.json": '{"dependencies": {"next": "16.4.6"}}'}
ANY = probing.ANSWERS


def put(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def needs(*names: str, **more: object) -> dict[str, str]:
    return {"package.json": json.dumps({"dependencies": dict.fromkeys(names, "1"), **more})}


@pytest.mark.parametrize(
    ("files", "path", "status"),
    [
        (NEXT | {"app/page.js": ""}, None, None),
        (NEXT | {"app/(shop)/page.tsx": ""}, None, None),
        (NEXT | {"app/[lang]/page.tsx": ""}, None, None),
        (NEXT | {"app/api/items/route.js": ""}, None, ANY),
        (NEXT | {"app/api/health/route.js": ""}, "/api/health", None),
        (NEXT | {"pages/index.js": "", "next.config.js": "module.exports = { basePath: '/docs' }"}, "/docs", None),
        (NEXT | {"pages/health.js": "", "next.config.js": "basePath: '/docs'"}, "/docs/health", None),
        (needs("nuxt") | {"server/api/health.get.ts": ""}, "/api/health", None),
        (needs("nuxt") | {"server/routes/healthz.ts": ""}, "/healthz", None),
        (needs("nuxt") | {"nuxt.config.ts": "app: { baseURL: '/shop/' }"}, "/shop/", None),
        (needs("@sveltejs/kit") | {"src/routes/health/+server.ts": ""}, "/health", None),
        (needs("astro") | {"src/pages/up.astro": ""}, "/up", None),
        (needs("astro") | {"astro.config.mjs": "base: '/docs'"}, "/docs/", None),
        (needs("vite") | {"index.html": "", "vite.config.ts": 'base: "/app/"'}, "/app/", None),
        (needs("react-scripts", homepage="https://x.example/team"), "/team/", None),
        (needs("express") | {"server.js": "const app = express(); app.get('/healthz', ok)"}, "/healthz", None),
        (needs("express") | {"server.js": "const app = express(); app.get('/', ok)"}, None, None),
        (needs("express") | {"server.js": "const app = express(); app.use('/api', all)"}, None, ANY),
        # a router may stand below any path, and so may all of an app with a prefix
        (needs("express") | {"app.js": "express()", "a.js": "router.get('/health', ok)"}, None, ANY),
        (needs("express") | {"server.js": "express().listen(); app.get('/health'); setGlobalPrefix('api')"}, None, ANY),
        (needs("ws") | {"server.js": "createServer((q) => { if (q.url === '/healthz') ok })"}, "/healthz", None),
    ],
)
def test_the_page_that_tells_of_health(
    tmp_path: Path, files: dict[str, str], path: str | None, status: tuple[int, ...] | None
) -> None:
    found = probing.find(put(tmp_path, files), framework.detect(tmp_path))
    assert (found.path, found.status) == (path, status)
    assert found.why


def test_what_was_found_and_what_is_assumed(tmp_path: Path) -> None:
    root = sites.monorepo("npm").write(tmp_path)
    (tmp_path / "package-lock.json").write_text("{}")
    put(root, {".env": "SECRET=1", ".nvmrc": "22"})
    told = explained.explain(root, root=tmp_path)
    found = dict(told.found)
    assert found["packages"] == "npm, from package-lock.json"
    assert found["workspace"] == "apps/web needs packages/ui; 1 other stays out"
    assert found["runs"] == "main.js, as scripts.start says"
    assert found["Node.js"] == "22, as .nvmrc says"
    assert any("deployd env import .env" in text for text in told.assumed)
    assert any("any answer below 500 counts" in text for text in told.assumed)
    assert told.problems == ()


def test_what_stands_in_the_way_is_told(tmp_path: Path) -> None:
    (without_lock,) = explained.explain(sites.express().write(tmp_path / "a"), root=tmp_path).problems
    assert "no lock file" in without_lock
    (nothing,) = explained.explain(put(tmp_path / "b", {"package.json": "{}"}), root=tmp_path).problems
    assert "build.framework" in nothing
    assert explained.explain(nodesites.no_package().write(tmp_path / "c"), root=tmp_path).problems == ()
    assert explained.explain(sites.plain().write(tmp_path / "d"), root=tmp_path).problems == ()


@pytest.mark.parametrize(
    ("files", "runs"),
    [
        (NEXT, "Next.js's own server"),
        (NEXT | {"next.config.ts": "const a = { output: 'export' }"}, "no process: the pages that its build leaves (output: 'export')"),
        (NEXT | {"server.js": "require('next')"}, "the app's own server, server.js"),
        ({"package.json": '{"dependencies": {"next": "16"}, "scripts": {"start": "node dist/s.js"}}'},
         "dist/s.js, which the build makes, if it loads Next.js"),
        (needs("astro"), "no process: the pages that its build leaves"),
        (needs("astro", "@astrojs/node"), "the server that its build leaves"),
        (needs("nuxt"), "the server that its build leaves, or its pages where it leaves none"),
        ({"public/index.html": ""}, "no process: the pages in public"),
        ({"index.html": ""}, "no process: the pages as they lie here"),
        (needs("vite") | {"index.html": ""}, "no process: the first of dist, build, out, _site with an index.html"),
    ],
)  # fmt: skip
def test_what_will_run_is_said_before_anything_is_built(tmp_path: Path, files: dict[str, str], runs: str) -> None:
    assert dict(explained.explain(put(tmp_path, files), root=tmp_path).found)["runs"] == runs


def test_an_adapter_for_another_platform_is_told_at_once(tmp_path: Path) -> None:
    put(tmp_path, needs("@sveltejs/kit", "@sveltejs/adapter-vercel") | {"package-lock.json": "{}"})
    (told,) = explained.explain(tmp_path, root=tmp_path).problems
    assert "use @sveltejs/adapter-node" in told


def test_what_the_sources_name_from_the_apps_folder(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "app.js": "read('data/a.json'); read(`./b.sql`); serveStatic({ root: './pages' }); read('../up.json')\n"
            "read('gone.json'); read('package.json'); require('./lib/c.js'); express.static('web/out')\n"
            "app.set('views', './src/views')",
            "src/views/a.ejs": "",
            "data/a.json": "", "b.sql": "", "pages/x": "", "package.json": "{}", "lib/c.js": "", "web/out/i": "",
            "tests/t.js": "read('fixture.json')", "fixture.json": "", "node_modules/m/x.js": "read('m.json')", "m.json": "",
        },
    )  # fmt: skip
    (tmp_path / "web" / "out" / "l").symlink_to("/etc")
    assert ownsources.named(tmp_path) == ("b.sql", "data/a.json", "pages", "src/views", "web/out")
