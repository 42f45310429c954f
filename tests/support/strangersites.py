"""Apps as strangers have them: native code built from its sources, SQLite of Node.js's own, `catalog:`, fastify-cli."""

from __future__ import annotations

import json

from tests.support.sites import Site, package


def built_from_source() -> Site:
    """better-sqlite3, whose addon fits one Node.js only: without its download it is built, with that one's headers."""
    server = """const db = new (require('better-sqlite3'))(':memory:')
const { version } = db.prepare('select sqlite_version() as version').get()
require('node:http').createServer((_, response) => response.end('hello sqlite ' + version)).listen(process.env.PORT || 3000)
"""
    files = {
        "package.json": package(dependencies={"better-sqlite3": "12.4.1"}, scripts={"start": "node server.js"}),
        "server.js": server,
    }
    return Site(files=files, manager="npm", probe=("/", "hello sqlite 3."))


def node_sqlite() -> Site:
    """Express as ES modules with `node:sqlite`, and a schema that is read by its place beside the code."""
    server = """import express from 'express'
import { DatabaseSync } from 'node:sqlite'
import { readFileSync } from 'node:fs'
const db = new DatabaseSync(process.env.DB_FILE ?? ':memory:')
db.exec(readFileSync(new URL('./schema.sql', import.meta.url), 'utf8'))
db.prepare('insert into notes (text) values (?)').run('hello sqlite')
const app = express()
app.use(express.static('public'))
app.get('/', (request, response) => { response.send(db.prepare('select text from notes').get().text) })
app.listen(process.env.PORT ?? 3000)
"""
    files = {
        "package.json": package(
            type="module", dependencies={"express": "5.1.0"}, engines={"node": ">=22.5"},
            scripts={"dev": "node --watch src/server.js", "start": "node src/server.js"},
        ),
        "src/server.js": server,
        "src/schema.sql": "create table if not exists notes (id integer primary key, text text);\n",
        "public/style.css": "body {}\n",
    }  # fmt: skip
    return Site(files=files, manager="npm", probe=("/", "hello sqlite"), asks=(("/style.css", 200, "body"),))


def lone_mjs() -> Site:
    """A lone `server.mjs` without package.json, with `await` at the top and a page beside it, which looks whether it is the main program."""
    server = """import { createServer } from 'node:http'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
const page = await readFile(new URL('./page.html', import.meta.url))
const server = createServer((request, response) => response.end(request.url === '/health' ? 'ok' : page))
if (process.argv[1] === fileURLToPath(import.meta.url)) server.listen(8000)
"""
    return Site(files={"server.mjs": server, "page.html": "<h1>hello mjs</h1>\n"}, manager="", probe=("/", "hello mjs"))


def fastify_cli() -> Site:
    """Fastify as its generator makes it in TypeScript: the start script builds, and then calls `fastify start`."""
    settings = {"module": "nodenext", "target": "es2022", "outDir": "dist", "rootDir": "src", "skipLibCheck": True}
    app = """import { join } from 'node:path'
import AutoLoad from '@fastify/autoload'
import { FastifyPluginAsync } from 'fastify'
const app: FastifyPluginAsync = async (fastify) => {
  void fastify.register(AutoLoad, { dir: join(__dirname, 'routes') })
}
export default app
"""
    route = """import { FastifyPluginAsync } from 'fastify'
const route: FastifyPluginAsync = async (fastify) => { fastify.get('/', async () => 'hello fastify') }
export default route
"""
    files = {
        "package.json": package(
            main="app.ts",
            dependencies={"fastify": "5.6.2", "@fastify/autoload": "6.3.1", "fastify-cli": "7.4.0"},
            devDependencies={"typescript": "5.9.3", "@types/node": "22.10.7"},
            scripts={"build:ts": "tsc", "start": "npm run build:ts && fastify start -l info dist/app.js"},
        ),
        "tsconfig.json": json.dumps({"compilerOptions": settings}),
        "src/app.ts": app,
        "src/routes/root.ts": route,
    }
    return Site(files=files, manager="npm", probe=("/", "hello fastify"))


def next_catalog() -> Site:
    """Next.js in pnpm's workspace: versions from its catalogs, a package of TypeScript sources, another that is built."""
    workspace = """packages:
  - apps/*
  - packages/*

catalog:
  react: 19.2.0
  react-dom: 19.2.0
catalogs:
  next:
    next: 16.4.6
"""
    build = "require('node:fs').mkdirSync('dist'); require('node:fs').writeFileSync('dist/index.js', `export const word = 'catalog'`)"
    files = {
        "package.json": package("repository", packageManager="pnpm@10.34.0", scripts={"build": "pnpm -r build"}),
        "pnpm-workspace.yaml": workspace,
        "apps/web/package.json": package(
            "@acme/web", scripts={"dev": "next dev", "build": "next build", "start": "next start"},
            dependencies={"@acme/ui": "workspace:*", "@acme/words": "workspace:^", "next": "catalog:next",
                          "react": "catalog:", "react-dom": "catalog:"},
        ),
        "apps/web/next.config.mjs": "export default { transpilePackages: ['@acme/ui'] }\n",
        "apps/web/app/layout.js": "export default ({ children }) => <html><body>{children}</body></html>\n",
        "apps/web/app/page.js": (
            "import { Hello } from '@acme/ui'\nimport { word } from '@acme/words'\nexport default () => <Hello who={word} />\n"
        ),
        "apps/web/app/api/who/route.js": (
            "import { word } from '@acme/words'\nexport const dynamic = 'force-dynamic'\n"
            "export const GET = () => Response.json({ word })\n"
        ),
        "packages/ui/package.json": package("@acme/ui", type="module", exports={".": "./src/index.jsx"},
                                            peerDependencies={"react": "catalog:"}),
        "packages/ui/src/index.jsx": "export const Hello = ({ who }) => <h1>{`hello ${who}`}</h1>\n",
        "packages/words/package.json": package("@acme/words", type="module", main="dist/index.js",
                                               scripts={"build": "node build.cjs"}),
        "packages/words/build.cjs": build + "\n",
        "apps/docs/package.json": package("@acme/docs", scripts={"build": "exit 1"}),
    }  # fmt: skip
    return Site(
        files=files,
        folder="apps/web",
        manager="pnpm",
        probe=("/", "hello catalog"),
        asks=(("/api/who", 200, "catalog"),),
    )
