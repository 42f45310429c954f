"""More apps as their generators make them: servers in TypeScript run by tsx, a Nest monorepo, SolidStart, makers of pages."""

from __future__ import annotations

import json
from dataclasses import replace

from tests.support import sites
from tests.support.sites import Site, package

_TYPED = {"tsx": "4.20.6", "typescript": "5.9.3"}
_TSCONFIG = '{ "compilerOptions": { "target": "es2022", "module": "nodenext", "strict": true } }\n'


def _tsx(source: str, needs: dict[str, str], *, manager: str = "npm") -> Site:
    files = {
        "package.json": package(
            type="module",
            dependencies=needs | _TYPED,
            scripts={"dev": "tsx watch src/index.ts", "start": "tsx src/index.ts"},
        ),
        "tsconfig.json": _TSCONFIG,
        "src/words.ts": "export const word: string = 'hello'\n",
        "src/index.ts": f"import {{ word }} from './words.js'\n{source}",
    }
    return Site(files=files, manager=manager)


def hono() -> Site:
    """Hono on Node.js, as create-hono makes it."""
    return _tsx(
        """import { serve } from '@hono/node-server'
import { Hono } from 'hono'
const app = new Hono()
app.get('/', (c) => c.text(`${word} hono`))
serve({ fetch: app.fetch, port: 3000 }, (info) => { console.log(`http://localhost:${info.port}`) })
""",
        {"hono": "4.10.6", "@hono/node-server": "1.19.6"},
    )


def fastify() -> Site:
    """Fastify in TypeScript, with a plugin."""
    return _tsx(
        """import Fastify from 'fastify'
import cors from '@fastify/cors'
const app = Fastify({ logger: true })
await app.register(cors)
app.get('/', async (): Promise<{ word: string }> => ({ word }))
await app.listen({ port: Number(process.env.PORT ?? 3000), host: '0.0.0.0' })
""",
        {"fastify": "5.6.2", "@fastify/cors": "11.1.0"},
        manager="pnpm",
    )


def koa() -> Site:
    """Koa with a router, in TypeScript, on a fixed port."""
    return _tsx(
        """import Koa from 'koa'
import Router from '@koa/router'
const app = new Koa()
const router = new Router()
router.get('/', (ctx) => { ctx.body = `${word} koa` })
app.use(router.routes()).listen(4000)
""",
        {"koa": "3.0.3", "@koa/router": "14.0.0"},
        manager="yarn",
    )


def express() -> Site:
    """Express 5 in TypeScript."""
    return _tsx(
        """import express, { type Request } from 'express'
const app = express()
app.get('/', (request: Request, response) => { response.send(`${word} express`) })
app.listen(process.env.PORT || 8080)
""",
        {"express": "5.1.0", "@types/express": "5.0.5"},
        manager="bun",
    )


def nest_monorepo() -> Site:
    """Nest's monorepo mode: one package.json, two apps and a library, `nest build shop`."""
    needs = {
        "@nestjs/common": "11.1.9", "@nestjs/core": "11.1.9", "@nestjs/platform-express": "11.1.9",
        "reflect-metadata": "0.2.2", "rxjs": "7.8.2",
    }  # fmt: skip
    tools = {
        "@nestjs/cli": "11.0.10",
        "typescript": "5.9.3",
        "@types/node": "22.10.7",
        "ts-loader": "9.5.4",
        "webpack": "5.102.1",
    }
    projects = {
        name: {"type": "application", "root": f"apps/{name}", "entryFile": "main", "sourceRoot": f"apps/{name}/src",
               "compilerOptions": {"tsConfigPath": f"apps/{name}/tsconfig.app.json"}}
        for name in ("shop", "admin")
    }  # fmt: skip
    settings = {
        "collection": "@nestjs/schematics", "sourceRoot": "apps/shop/src", "monorepo": True, "root": "apps/shop",
        "compilerOptions": {"webpack": True, "tsConfigPath": "apps/shop/tsconfig.app.json"}, "projects": projects,
    }  # fmt: skip
    options = {
        "module": "commonjs", "target": "es2022", "experimentalDecorators": True, "emitDecoratorMetadata": True,
        "outDir": "./dist", "baseUrl": "./", "skipLibCheck": True, "paths": {"@app/words": ["libs/words/src"]},
    }  # fmt: skip
    main = """import { NestFactory } from '@nestjs/core'
import { Controller, Get, Module } from '@nestjs/common'
import { word } from '@app/words'
@Controller()
class Home { @Get() home(): string { return `${word} nest` } }
@Module({ controllers: [Home] })
class App {}
async function start() { const app = await NestFactory.create(App); await app.listen(process.env.PORT ?? 3000) }
start()
"""
    files = {
        "package.json": package(
            dependencies=needs, devDependencies=tools,
            scripts={"build": "nest build shop", "start": "nest start", "start:prod": "node dist/apps/shop/main"},
        ),
        "nest-cli.json": json.dumps(settings),
        "tsconfig.json": json.dumps({"compilerOptions": options}),
        "libs/words/src/index.ts": "export const word = 'hello'\n",
    }  # fmt: skip
    for name in ("shop", "admin"):
        files[f"apps/{name}/src/main.ts"] = main
        files[f"apps/{name}/tsconfig.app.json"] = json.dumps(
            {"extends": "../../tsconfig.json", "compilerOptions": {"outDir": f"../../dist/apps/{name}"}}
        )
    return Site(files=files, manager="npm")


def solid_start() -> Site:
    """SolidStart 1 on vinxi, as create-solid makes it."""
    files = {
        "package.json": package(
            type="module",
            dependencies={
                "@solidjs/start": "1.2.0",
                "solid-js": "1.9.10",
                "vinxi": "0.5.8",
                "@solidjs/router": "0.15.4",
            },
            scripts={"dev": "vinxi dev", "build": "vinxi build", "start": "vinxi start"},
        ),
        "app.config.ts": 'import { defineConfig } from "@solidjs/start/config";\nexport default defineConfig({});\n',
        "src/app.tsx": """import { Router } from "@solidjs/router";
import { FileRoutes } from "@solidjs/start/router";
import { Suspense } from "solid-js";
export default function App() {
  return <Router root={(props) => <Suspense>{props.children}</Suspense>}><FileRoutes /></Router>;
}
""",
        "src/routes/index.tsx": "export default function Home() { return <main>hello solid</main>; }\n",
        "src/entry-client.tsx": """// @refresh reload
import { mount, StartClient } from "@solidjs/start/client";
mount(() => <StartClient />, document.getElementById("app")!);
""",
        "src/entry-server.tsx": """// @refresh reload
import { createHandler, StartServer } from "@solidjs/start/server";
export default createHandler(() => (
  <StartServer document={({ assets, children, scripts }) => (
    <html lang="en"><head>{assets}</head><body><div id="app">{children}</div>{scripts}</body></html>
  )} />
));
""",
    }
    return Site(files=files, manager="npm", probe=("/", "hello solid"))


def docusaurus() -> Site:
    """Docusaurus: pages and a document, `docusaurus build`."""
    config = {
        "title": "Shop", "url": "https://shop.example", "baseUrl": "/",
        "presets": [["classic", {"docs": {"routeBasePath": "docs"}, "blog": False}]],
    }  # fmt: skip
    files = {
        "package.json": package(
            dependencies={
                "@docusaurus/core": "3.9.2", "@docusaurus/preset-classic": "3.9.2", "@mdx-js/react": "3.1.1",
                "react": "19.2.0", "react-dom": "19.2.0",
            },
            overrides={"@docsearch/react": "4.3.2", "@docsearch/core": "4.3.1", "webpack": "5.102.1"},
            scripts={"build": "docusaurus build", "start": "docusaurus start", "serve": "docusaurus serve"},
        ),
        "docusaurus.config.js": f"module.exports = {json.dumps(config)};\n",
        "docs/intro.md": "# Intro\n\nhello documents\n",
        "src/pages/index.js": "export default () => <main>hello docusaurus</main>;\n",
    }  # fmt: skip
    return Site(
        files=files, manager="npm", probe=("/", "hello docusaurus"),
        asks=(("/docs/intro", 200, "hello documents"), ("/gone", 404, "")),
    )  # fmt: skip


def tanstack_start() -> Site:
    """TanStack Start on Vite with Nitro, as its documentation has it."""
    files = {
        "package.json": package(
            type="module",
            dependencies={"@tanstack/react-router": "^1.139.0", "@tanstack/react-start": "^1.139.0", "react": "19.2.0",
                          "react-dom": "19.2.0", "nitro": "latest"},
            devDependencies={"vite": "^7.2.0", "@vitejs/plugin-react": "^5.1.0", "typescript": "5.9.3"},
            scripts={"dev": "vite dev", "build": "vite build", "start": "node .output/server/index.mjs"},
        ),
        "vite.config.ts": """import { defineConfig } from 'vite'
import { tanstackStart } from '@tanstack/react-start/plugin/vite'
import viteReact from '@vitejs/plugin-react'
import { nitro } from 'nitro/vite'
export default defineConfig({ plugins: [tanstackStart(), nitro(), viteReact()] })
""",
        "tsconfig.json": '{ "compilerOptions": { "jsx": "react-jsx", "moduleResolution": "Bundler", "module": "ESNext" } }\n',
        "src/router.tsx": """import { createRouter } from '@tanstack/react-router'
import { routeTree } from './routeTree.gen'
export function getRouter() { return createRouter({ routeTree, scrollRestoration: true }) }
""",
        "src/routes/__root.tsx": """import { HeadContent, Outlet, Scripts, createRootRoute } from '@tanstack/react-router'
export const Route = createRootRoute({ component: () => (
  <html lang="en"><head><HeadContent /></head><body><Outlet /><Scripts /></body></html>
) })
""",
        "src/routes/index.tsx": """import { createFileRoute } from '@tanstack/react-router'
export const Route = createFileRoute('/')({ component: () => <main>hello tanstack</main> })
""",
    }  # fmt: skip
    return Site(files=files, manager="npm", probe=("/", "hello tanstack"))


def turborepo_next(manager: str, *, line: str = "16") -> Site:
    """Turborepo over one manager's workspaces: a Next.js app, a package that is built first, an app that would fail."""
    site = sites.monorepo(manager, next_line=line, turbo=True)
    broken = {"apps/docs/package.json": package("docs", dependencies={"is-odd": "3.0.1"}, scripts={"build": "exit 1"})}
    return replace(site, files={**site.files, **broken}, manager=manager)


def migrating() -> Site:
    """A server whose start script brings its database up to date first, by a package's command and a file of its own."""
    server = """const knex = require('knex')(require('./knexfile'))
require('node:http').createServer((_, response) => {
  knex('notes').first().then((note) => response.end('hello ' + note.text), (error) => response.writeHead(500).end(String(error)))
}).listen(process.env.PORT)
"""
    migration = """exports.up = (knex) => knex.schema.createTable('notes', (table) => { table.text('text') })
exports.down = (knex) => knex.schema.dropTable('notes')
"""
    files = {
        "package.json": package(
            dependencies={"knex": "3.1.0", "libsql": "0.5.22"},
            scripts={"migrate": "knex migrate:latest", "start": "npm run migrate && node seed.js && node server.js"},
        ),
        "knexfile.js": "module.exports = require('./db/settings')\n",
        "db/settings.js": """// the release's own writable folder stands for a database server
const filename = (process.env.CACHE_DIRECTORY || '/tmp').split(':')[0] + '/notes.db'
class Client extends require('knex/lib/dialects/better-sqlite3') { _driver() { return require('libsql') } }
module.exports = { client: Client, useNullAsDefault: true, connection: { filename } }
""",
        "migrations/1_notes.js": migration,
        "seed.js": "const knex = require('knex')(require('./knexfile'))\n"
        "knex('notes').insert({ text: 'migrated' }).then(() => { console.log('seeded'); return knex.destroy() })\n",
        "server.js": server,
    }
    return Site(files=files, manager="npm", probe=("/", "hello migrated"))
