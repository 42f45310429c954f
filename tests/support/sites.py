"""Tiny apps of many kinds, as a person has them: their files, and nothing about deployment in any of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

NEXT = {"13.5": "13.5.11", "14.2": "14.2.35", "15.5": "15.5.29", "16": "16.4.6"}
_REACT = {"13.5": "18.3.1", "14.2": "18.3.1", "15.5": "19.2.0", "16": "19.2.0"}


@dataclass(frozen=True, kw_only=True)
class Site:
    """An app's files by path; `folder` is the app's place among them, `probe` a path and a text of its answer.

    `asks` are more of these, each with its status. `manager` makes its lock file, "" for none.
    """

    files: Mapping[str, str]
    folder: str = ""
    probe: tuple[str, str] = ("/", "hello")
    asks: tuple[tuple[str, int, str], ...] = ()
    manager: str = "pnpm"

    def write(self, into: Path) -> Path:
        """Write the files; returns the app's folder."""
        for name, text in self.files.items():
            path = into / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return into / self.folder


def package(name: str = "shop", **more: Any) -> str:
    """A package.json."""
    return json.dumps({"name": name, "version": "1.0.0", "private": True, **more}, indent=2) + "\n"


def next_needs(line: str) -> dict[str, str]:
    """Next.js of one line, with the React that it goes with."""
    return {"next": NEXT[line], "react": _REACT[line], "react-dom": _REACT[line]}


def next_pages(line: str = "14.2", *, config: str | None = None, scripts: Mapping[str, str] | None = None) -> Site:
    """Next.js with the Pages Router: a page, an API route, a public file, a middleware that rewrites."""
    files = {
        "package.json": package(
            dependencies=next_needs(line), scripts=dict(scripts or {"build": "next build", "start": "next start"})
        ),
        "pages/index.js": "export default function Home() { return <h1>hello from pages</h1> }\n",
        "pages/api/time.js": "export default (request, response) => response.json({ hello: process.version })\n",
        "public/robots.txt": "# robots\n",
    }
    return Site(files=files | ({"next.config.js": config} if config else {}))


def next_app(line: str = "16", *, config: str | None = None) -> Site:
    """Next.js with the App Router: a page, a route handler, a public file."""
    files = {
        "package.json": package(dependencies=next_needs(line), scripts={"build": "next build", "start": "next start"}),
        "app/layout.js": "export default ({ children }) => <html><body>{children}</body></html>\n",
        "app/page.js": "export default function Home() { return <h1>hello from app</h1> }\n",
        "app/api/time/route.js": (
            "export const dynamic = 'force-dynamic'\nexport const GET = () => Response.json({ hello: process.version })\n"
        ),
        "public/robots.txt": "# robots\n",
    }
    return Site(files=files | ({"next.config.js": config} if config else {}))


def next_export(line: str = "14.2", *, base_path: str = "") -> Site:
    """Next.js with `output: 'export'`, trailing slashes and an own folder: files and no server."""
    settings = {"output": "export", "trailingSlash": True, "distDir": "exported", "basePath": base_path}
    site = next_pages(line, config=f"module.exports = {json.dumps(settings)}\n")
    files = {name: text for name, text in site.files.items() if not name.startswith("pages/api")}
    return Site(files=files | {"pages/about.js": "export default () => <p>about</p>\n"})


def next_custom(line: str = "14.2") -> Site:
    """Next.js with a server of the app's own, and a distDir of its own."""
    server = """const { createServer } = require('node:http')
const next = require('next')
const { greet } = require('./lib/greet')
const app = next({ dev: process.env.NODE_ENV !== 'production' })
app.prepare().then(() => {
  const handle = app.getRequestHandler()
  createServer((request, response) => {
    if (request.url === '/own') return response.end(greet())
    handle(request, response)
  }).listen(Number(process.env.PORT || 3000), process.env.HOSTNAME)
})
"""
    site = next_pages(
        line,
        config="module.exports = { distDir: 'made' }\n",
        scripts={"build": "next build", "start": "NODE_ENV=production node server.js"},
    )
    own = {"server.js": server, "lib/greet.js": "exports.greet = () => 'hello from my own server'\n"}
    return Site(files={**site.files, **own}, probe=("/own", "hello from my own server"))


def express(**more: Any) -> Site:
    """Express without a build, with a page and public files that are read at run time."""
    server = """const express = require('express')
const path = require('node:path')
const app = express()
app.use(express.static(path.join(__dirname, 'public')))
app.get('/', (request, response) => response.send('hello from express'))
app.get('/page', (request, response) => response.sendFile(path.join(__dirname, 'views', 'page.html')))
app.listen(process.env.PORT || 3000)
"""
    return Site(
        files={
            "package.json": package(dependencies={"express": "4.21.2"}, scripts={"start": "node server"}, **more),
            "server.js": server,
            "public/style.css": "body {}\n",
            "views/page.html": "<p>a page that is read</p>\n",
        }
    )


def fastify() -> Site:
    """Fastify, written in TypeScript, built by tsc into dist/, as an ES module."""
    server = """import Fastify from 'fastify'
const app = Fastify()
app.get('/', async (): Promise<string> => 'hello from fastify')
await app.listen({ port: Number(process.env.PORT ?? 3000), host: process.env.HOSTNAME ?? '127.0.0.1' })
"""
    settings = {"module": "nodenext", "target": "es2022", "outDir": "dist", "rootDir": "src", "skipLibCheck": True}
    return Site(
        files={
            "package.json": package(
                type="module",
                dependencies={"fastify": "5.2.1"},
                devDependencies={"typescript": "5.7.3", "@types/node": "22.10.7"},
                scripts={"build": "tsc", "start": "node dist/index.js"},
            ),
            "tsconfig.json": json.dumps({"compilerOptions": settings}),
            "src/index.ts": server,
        }
    )


def nest() -> Site:
    """Nest as its generator makes it: `nest build`, and `start:prod` says what runs."""
    needs = {"@nestjs/common": "^11", "@nestjs/core": "^11", "@nestjs/platform-express": "^11", "reflect-metadata": "^0.2",
             "rxjs": "^7"}  # fmt: skip
    tools = {"@nestjs/cli": "^11", "typescript": "^5.7", "@types/node": "^22", "@types/express": "^5"}
    settings = {"module": "commonjs", "target": "es2022", "outDir": "./dist", "baseUrl": "./", "skipLibCheck": True,
                "experimentalDecorators": True, "emitDecoratorMetadata": True}  # fmt: skip
    module = """import { Controller, Get, Module } from '@nestjs/common'
@Controller()
export class Hello { @Get() get(): string { return 'hello from nest' } }
@Module({ controllers: [Hello] })
export class AppModule {}
"""
    main = """import { NestFactory } from '@nestjs/core'
import { AppModule } from './app.module'
async function bootstrap() {
  const app = await NestFactory.create(AppModule)
  await app.listen(process.env.PORT ?? 3000)
}
bootstrap()
"""
    scripts = {
        "build": "nest build",
        "start": "nest start",
        "start:dev": "nest start --watch",
        "start:prod": "node dist/main",
    }
    return Site(
        files={
            "package.json": package(dependencies=needs, devDependencies=tools, scripts=scripts),
            "nest-cli.json": json.dumps({"collection": "@nestjs/schematics", "sourceRoot": "src"}),
            "tsconfig.json": json.dumps({"compilerOptions": settings}),
            "src/app.module.ts": module,
            "src/main.ts": main,
        }
    )


def vite() -> Site:
    """A page of Vite's with one script and no router: unknown paths are its own."""
    return Site(
        files={
            "package.json": package(devDependencies={"vite": "^7"}, scripts={"dev": "vite", "build": "vite build"}),
            "index.html": "<!doctype html><h1>hello from vite</h1><script type=module src=/main.js></script>\n",
            "main.js": "document.title = 'shop'\n",
            "public/robots.txt": "# robots\n",
        }
    )


def plain() -> Site:
    """A folder of pages, without package.json."""
    return Site(
        files={"index.html": "<h1>hello from a file</h1>\n", "about.html": "<p>about</p>\n", "404.html": "gone\n"}
    )


def eleventy() -> Site:
    """Eleventy: each page in a folder of its own."""
    return Site(
        files={
            "package.json": package(devDependencies={"@11ty/eleventy": "2.0.1"}, scripts={"build": "eleventy"}),
            "index.md": "# hello from eleventy\n",
            "about.md": "about\n",
        }
    )


def nuxt() -> Site:
    """Nuxt as its generator makes it."""
    return Site(
        files={
            "package.json": package(
                type="module", dependencies={"nuxt": "^3.15", "vue": "^3.5"}, scripts={"build": "nuxt build"}
            ),
            "app.vue": "<template><h1>hello from nuxt</h1></template>\n",
            "server/api/time.get.js": "export default () => ({ hello: process.version })\n",
        }
    )


def astro(*, server: bool) -> Site:
    """Astro: with the Node.js adapter, or pages alone."""
    config = "import { defineConfig } from 'astro/config'\n"
    if server:
        config += "import node from '@astrojs/node'\n"
        config += "export default defineConfig({ output: 'server', adapter: node({ mode: 'standalone' }) })\n"
    else:
        config += "export default defineConfig({})\n"
    needs = {"astro": "^5"} | ({"@astrojs/node": "^9"} if server else {})
    return Site(
        files={
            "package.json": package(
                type="module", dependencies=needs, scripts={"build": "astro build", "start": "astro dev"}
            ),
            "astro.config.mjs": config,
            "src/pages/index.astro": "<html><body><h1>hello from astro</h1></body></html>\n",
            "src/pages/about.astro": "<html><body>about</body></html>\n",
        }
    )


def sveltekit(*, adapter: str = "node") -> Site:
    """SvelteKit with one of its adapters."""
    versions = {"node": "^5", "static": "^3", "auto": "^6"}
    files = {
        "package.json": package(
            type="module",
            scripts={"build": "vite build", "dev": "vite dev"},
            devDependencies={
                "@sveltejs/kit": "^2", "@sveltejs/vite-plugin-svelte": "^5", "svelte": "^5", "vite": "^6",
                f"@sveltejs/adapter-{adapter}": versions[adapter],
            },
        ),
        "svelte.config.js": (
            f"import adapter from '@sveltejs/adapter-{adapter}'\nexport default {{ kit: {{ adapter: adapter() }} }}\n"
        ),
        "vite.config.js": "import { sveltekit } from '@sveltejs/kit/vite'\nexport default { plugins: [sveltekit()] }\n",
        "src/app.html": "<html><head>%sveltekit.head%</head><body><div>%sveltekit.body%</div></body></html>\n",
        "src/routes/+page.svelte": "<h1>hello from svelte</h1>\n",
    }  # fmt: skip
    return Site(
        files=files | ({"src/routes/+layout.js": "export const prerender = true\n"} if adapter == "static" else {})
    )


def react_router(*, ssr: bool = True) -> Site:
    """React Router 7 as its generator makes it."""
    needs = {"react": "^19", "react-dom": "^19", "react-router": "^7.1", "@react-router/node": "^7.1",
             "@react-router/serve": "^7.1", "isbot": "^5"}  # fmt: skip
    root = """import { Outlet, Scripts } from 'react-router'
export function Layout({ children }) { return <html><head><title>x</title></head><body>{children}<Scripts /></body></html> }
export default function App() { return <Outlet /> }
"""
    return Site(
        files={
            "package.json": package(
                type="module",
                dependencies=needs,
                devDependencies={"@react-router/dev": "^7.1", "vite": "^6", "typescript": "^5.7"},
                scripts={"build": "react-router build", "start": "react-router-serve ./build/server/index.js"},
            ),
            "vite.config.js": "import { reactRouter } from '@react-router/dev/vite'\nexport default { plugins: [reactRouter()] }\n",
            "react-router.config.ts": f"export default {{ ssr: {json.dumps(ssr)} }}\n",
            "app/root.jsx": root,
            "app/routes.ts": "import { index } from '@react-router/dev/routes'\nexport default [index('./home.jsx')]\n",
            "app/home.jsx": "export default function Home() { return <h1>hello from react router</h1> }\n",
        },
        probe=("/", "hello from react router" if ssr else "<title>"),
    )


def monorepo(manager: str = "npm", *, next_line: str | None = None, turbo: bool = False) -> Site:
    """Two apps and a package that one of them needs, whose own build makes what the app imports."""
    link = "workspace:*" if manager in {"pnpm", "yarn", "bun"} else "*"
    named = (
        {"packageManager": {"pnpm": "pnpm@10.34.0", "yarn": "yarn@4.5.0", "bun": "bun@1.3.0"}[manager]}
        if manager != "npm"
        else {}
    )
    tools = {"devDependencies": {"turbo": "^2"}} if turbo else {}
    top = package("repository", workspaces=["apps/*", "packages/*"], **named, **tools)
    ui = {
        "packages/ui/package.json": package("@acme/ui", main="lib/index.js", scripts={"build": "node build.js"},
                                            dependencies={"ms": "2.1.3"}),
        "packages/ui/build.js": (
            "require('node:fs').mkdirSync('lib', { recursive: true })\n"
            "require('node:fs').writeFileSync('lib/index.js', \"exports.greet = () => 'hello in ' + require('ms')(60000)\")\n"
        ),
    }  # fmt: skip
    docs = {
        "apps/docs/package.json": package("docs", dependencies={"is-odd": "3.0.1"}, scripts={"start": "node main.js"}),
        "apps/docs/main.js": "require('is-odd')\n",
    }
    web = _web(link, next_line)
    more = {"pnpm-workspace.yaml": "packages:\n  - apps/*\n  - packages/*\n"} if manager == "pnpm" else {}
    more |= (
        {"turbo.json": json.dumps({"tasks": {"build": {"dependsOn": ["^build"], "outputs": ["lib/**"]}}})}
        if turbo
        else {}
    )
    files = {"package.json": top, **ui, **docs, **{f"apps/web/{name}": text for name, text in web.items()}, **more}
    return Site(files=files, folder="apps/web", probe=("/", "hello in 1m"))


def monorepo_yarn_1() -> Site:
    """The same for Yarn 1, which knows no `workspace:`."""
    site = monorepo("yarn")
    files = {name: text.replace("workspace:*", "1.0.0") for name, text in site.files.items()}
    files["package.json"] = files["package.json"].replace("yarn@4.5.0", "yarn@1.22.22")
    return replace(site, files=files, manager="yarn-1")


def _web(link: str, next_line: str | None) -> dict[str, str]:
    if next_line:
        return {
            "package.json": package(
                "web", dependencies={"@acme/ui": link, **next_needs(next_line)}, scripts={"build": "next build"}
            ),
            "pages/index.js": (
                "import { greet } from '@acme/ui'\nexport default function Home() { return <h1>{greet()}</h1> }\n"
            ),
        }
    server = "const { greet } = require('@acme/ui')\n"
    server += "require('node:http').createServer((_, response) => response.end(greet())).listen(process.env.PORT)\n"
    return {"package.json": package("web", dependencies={"@acme/ui": link}, scripts={"start": "node main.js"}),
            "main.js": server}  # fmt: skip
