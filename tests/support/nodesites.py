"""Plain Node.js servers as strangers write them: how they are started, where they listen, what they read."""

from __future__ import annotations

import json
from typing import Any

from tests.support.sites import Site, package

_TS = {"module": "commonjs", "target": "es2022", "outDir": "dist", "rootDir": "src", "skipLibCheck": True,
       "esModuleInterop": True}  # fmt: skip


def bare(*, address: str = "8080, '127.0.0.1'", esm: bool = False, lock: bool = False) -> Site:
    """No package at all, CommonJS or ES modules, and a port of its own."""
    head = "import http from 'node:http'\n" if esm else "const http = require('node:http')\n"
    server = f"{head}http.createServer((_, response) => response.end('hello from nothing')).listen({address})\n"
    files = {"package.json": package(main="app.js", **({"type": "module"} if esm else {})), "app.js": server}
    empty = {"name": "shop", "version": "1.0.0", "lockfileVersion": 3, "requires": True, "packages": {}}
    return Site(files=files | ({"package-lock.json": json.dumps(empty)} if lock else {}), manager="")


def no_package() -> Site:
    """A server.js and nothing else."""
    server = "require('http').createServer((_, r) => r.end('hello without a package.json')).listen(3000, '0.0.0.0')\n"
    return Site(files={"server.js": server}, manager="")


def generated() -> Site:
    """Express as its generator makes it: bin/www, views in a template language, the working folder's files."""
    app = """var express = require('express'), path = require('path'), fs = require('fs')
var app = express()
app.set('views', path.join(__dirname, 'views'))
app.set('view engine', 'ejs')
app.use(express.static('public'))
app.get('/', (_, response) => response.render('index', { who: process.env.WHO }))
app.get('/data', (_, response) => response.send(fs.readFileSync('data/countries.json', 'utf8')))
module.exports = app
"""
    www = """#!/usr/bin/env node
var http = require('http'), app = require('../app')
var port = parseInt(process.env.PORT || '3000', 10)
app.set('port', port)
http.createServer(app).listen(port)
"""
    start = "npm run check && cross-env NODE_ENV=production WHO=views node ./bin/www"
    return Site(
        files={
            "package.json": package(
                dependencies={"express": "5.1.0", "ejs": "3.1.10", "cross-env": "7.0.3"},
                scripts={"check": "node -e 0", "start": start},
            ),
            "app.js": app,
            "bin/www": www,
            "views/index.ejs": "<h1>hello from <%= who %></h1><%- include('partials/foot') %>",
            "views/partials/foot.ejs": "<footer>",
            "public/style.css": "body {}\n",
            "data/countries.json": '["Chile"]\n',
        },
        probe=("/", "hello from views</h1><footer>"),
        asks=(("/style.css", 200, "body"), ("/data", 200, "Chile"), ("/gone", 404, "")),
    )


def compiled() -> Site:
    """TypeScript to dist/ by tsc; SQL, protobuf and text are read from beside it; words, `cd` and a module first."""
    server = """import express from 'express'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
const app = express()
const sql = readdirSync(join(__dirname, '..', 'migrations')).map((name) => readFileSync(join(__dirname, '..', 'migrations', name), 'utf8'))
app.get('/', (_, response) => { response.send('hello ' + process.argv.slice(2).join(' ') + (globalThis as any).early) })
app.get('/sql', (_, response) => { response.send(sql.join()) })
app.get('/proto', (_, response) => { response.send(readFileSync('proto/shop.proto', 'utf8')) })
app.listen(Number(process.env.PORT || 3000), '0.0.0.0')
"""
    return Site(
        files={
            "package.json": package(
                dependencies={"express": "4.21.2"},
                devDependencies={"typescript": "5.7.3", "@types/node": "22.10.7", "@types/express": "4.17.21"},
                scripts={"build": "tsc", "start": "node -r ./early.js --max-old-space-size=256 dist/main serve --loud"},
            ),
            "early.js": "globalThis.early = ' early'\n",
            "tsconfig.json": json.dumps({"compilerOptions": _TS}),
            "src/main.ts": server,
            "migrations/1.sql": "CREATE TABLE carts ();\n",
            "proto/shop.proto": 'syntax = "proto3";\n',
        },
        probe=("/", "hello serve --loud early"),
        asks=(("/sql", 200, "carts"), ("/proto", 200, "proto3")),
    )


def api() -> Site:
    """Nothing at `/`: an API below its own prefix, an ES module, Koa."""
    server = """import Koa from 'koa'
const app = new Koa()
app.use(async (context) => {
  if (context.path !== '/api/items') return
  context.body = ['hello']
})
app.listen(process.env.PORT || 3000)
"""
    needs = {"koa": "2.15.3"}
    return Site(
        files={"package.json": package(type="module", dependencies=needs, main="src/index.js"), "src/index.js": server},
        probe=("/api/items", "hello"),
        asks=(("/", 404, ""),),
    )


def bundled() -> Site:
    """Hono, bundled by esbuild into one file of dist/, with its packages inside."""
    server = """import { serve } from '@hono/node-server'
import { serveStatic } from '@hono/node-server/serve-static'
import { Hono } from 'hono'
const app = new Hono()
app.get('/', (context) => context.text('hello from hono'))
app.get('/stream', (context) => context.body(new ReadableStream({
  start(out) { out.enqueue('one '); setTimeout(() => { out.enqueue('two'); out.close() }, 50) } })))
app.use('/*', serveStatic({ root: './public' }))
serve({ fetch: app.fetch, port: Number(process.env.PORT ?? 3000), hostname: '::' })
"""
    build = "esbuild src/index.ts --bundle --platform=node --format=cjs --outfile=dist/index.cjs"
    return Site(
        files={
            "package.json": package(
                type="module",
                dependencies={"hono": "4.6.20", "@hono/node-server": "1.13.8"},
                devDependencies={"esbuild": "0.24.2"},
                scripts={"build": build, "start": "node dist/index.cjs"},
                pnpm={"onlyBuiltDependencies": ["esbuild"]},
            ),
            "src/index.ts": server,
            "public/robots.txt": "# robots\n",
        },
        probe=("/", "hello from hono"),
        asks=(("/stream", 200, "one two"), ("/robots.txt", 200, "# robots")),
    )


def tsup() -> Site:
    """Fastify, bundled by tsup without its packages, with the server's address as people write it."""
    server = """import Fastify from 'fastify'
const app = Fastify({ logger: true })
app.get('/', async (): Promise<string> => 'hello from tsup')
app.listen({ port: Number(process.env.PORT) || 3000, host: process.env.HOST || '0.0.0.0' })
"""
    return Site(
        files={
            "package.json": package(
                dependencies={"fastify": "5.2.1"},
                devDependencies={"tsup": "8.3.6", "typescript": "5.7.3"},
                scripts={"build": "tsup src/server.ts --format esm", "start": "HOST=0.0.0.0 node dist/server.mjs"},
                pnpm={"onlyBuiltDependencies": ["esbuild"]},
            ),
            "src/server.ts": server,
        }
    )


def cluster() -> Site:
    """A server that forks its own workers, and forks again what ends."""
    server = """const cluster = require('node:cluster'), http = require('node:http')
if (cluster.isPrimary) {
  for (let n = 0; n < 2; n++) cluster.fork()
  cluster.on('exit', () => cluster.fork())
} else {
  http.createServer((request, response) => {
    const wait = request.url === '/slow' ? 1500 : 0
    setTimeout(() => response.end('hello from worker ' + cluster.worker.id), wait)
  }).listen(process.env.PORT || 3000)
}
"""
    return Site(
        files={"package.json": package(scripts={"start": "node server.js"}), "server.js": server},
        probe=("/", "hello from worker"),
        manager="",
    )


def sockets(**more: Any) -> Site:
    """A plain server with WebSocket beside its pages."""
    server = """const http = require('node:http')
const { WebSocketServer } = require('ws')
const server = http.createServer((request, response) => {
  if (request.url === '/healthz') return response.end('ok')
  response.end('hello beside a socket')
})
const sockets = new WebSocketServer({ server, path: '/live' })
sockets.on('connection', (socket) => socket.on('message', (text) => socket.send('heard ' + text)))
server.listen(process.env.PORT || 3000)
"""
    scripts = {"start": "NODE_ENV=production node server.js"}
    return Site(
        files={
            "package.json": package(dependencies={"ws": "8.18.0"}, scripts=scripts, **more),
            "server.js": server,
        },
        probe=("/", "hello beside a socket"),
    )


def typescript(*, runner: str = "tsx src/index.ts") -> Site:
    """Sources in TypeScript that are run as they are, by tsx or by Node.js itself."""
    by_node = runner.startswith("node")
    ending = ".ts" if by_node else ""
    server = f"""import express, {{ type Request }} from 'express'
import {{ greet }} from './lib/greet{ending}'
const app = express()
app.get('/', (request: Request, response) => {{ response.send(greet(request.path as string)) }})
app.listen(process.env.PORT ?? 3000)
"""
    by_tool = "export enum Word {{ Hello = 'hello' }}\n" if not by_node else ""
    greet = by_tool.replace("{{", "{").replace("}}", "}")
    greet += (
        "import ms from 'ms'\nexport const greet = (path: string): string => 'hello from types ' + ms(60000) + path\n"
    )
    tools = {} if by_node else {"devDependencies": {"tsx": "^4.20"}}
    return Site(
        files={
            "package.json": package(
                type="module", dependencies={"express": "5.1.0", "ms": "2.1.3"}, scripts={"start": runner}, **tools,
                pnpm={"onlyBuiltDependencies": ["esbuild"]},
            ),
            "src/index.ts": server,
            "src/lib/greet.ts": greet,
        },
        probe=("/", "hello from types 1m/"),
    )  # fmt: skip


def next_typescript(needs: dict[str, str]) -> Site:
    """Next.js behind a server of its own in TypeScript that is built into dist/, with Express and WebSocket."""
    server = """import { createServer } from 'node:http'
import express from 'express'
import next from 'next'
import { WebSocketServer } from 'ws'
const app = next({ dev: process.env.NODE_ENV !== 'production' })
app.prepare().then(() => {
  const handle = app.getRequestHandler(), own = express()
  own.get('/own', (_, response) => { response.send('hello from my own server ' + process.env.WHO) })
  own.use((request, response) => handle(request, response))
  const server = createServer(own), sockets = new WebSocketServer({ noServer: true })
  sockets.on('connection', (socket) => socket.on('message', (text) => socket.send('heard ' + text)))
  server.on('upgrade', (request, socket, head) => {
    if (request.url === '/live') sockets.handleUpgrade(request, socket, head, (one) => sockets.emit('connection', one))
  })
  server.listen(parseInt(process.env.PORT || '3000', 10), () => console.log('> ready'))
})
"""
    settings = {**_TS, "rootDir": ".", "strict": False, "jsx": "preserve"}
    return Site(
        files={
            "package.json": package(
                dependencies={**needs, "express": "4.21.2", "ws": "8.18.0", "cross-env": "7.0.3"},
                devDependencies={"typescript": "5.7.3", "@types/node": "22.10.7", "@types/express": "4.17.21",
                                 "@types/ws": "8.5.13", "@types/react": "18.3.18"},
                scripts={"build": "next build && tsc --project tsconfig.server.json",
                         "start": "cross-env NODE_ENV=production WHO=again node dist/server.js"},
            ),
            "tsconfig.json": json.dumps({"compilerOptions": {"jsx": "preserve", "skipLibCheck": True, "noEmit": True,
                                                            "esModuleInterop": True, "allowJs": True},
                                         "exclude": ["node_modules", "server.ts"]}),
            "tsconfig.server.json": json.dumps({"compilerOptions": settings, "include": ["server.ts"]}),
            "server.ts": server,
            "pages/index.js": "export default function Home() { return <h1>hello from pages</h1> }\n",
            "pages/api/time.js": "export default (request, response) => response.json({ hello: process.version })\n",
            "public/robots.txt": "# robots\n",
        },
        probe=("/own", "hello from my own server again"),
        asks=(("/", 200, "hello from pages"), ("/api/time", 200, "hello"), ("/robots.txt", 200, "# robots")),
    )  # fmt: skip
