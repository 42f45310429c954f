"""Next.js apps around packages with native code, one package a route: each says hello only when its code ran."""

from __future__ import annotations

import json

from tests.support import nextpieces, nextstrangers, sites
from tests.support.nextstrangers import Stranger

_DYNAMIC = 'export const dynamic = "force-dynamic";\n'
_ROUTES = {
    "argon2": """
import argon2 from "argon2";
export async function GET() {
  const made = await argon2.hash("x", { timeCost: 2, memoryCost: 1024 });
  return new Response(await argon2.verify(made, "x") ? "argon2 hello" : "wrong");
}
""",
    "bcrypt": """
import bcrypt from "bcrypt";
export async function GET() { return new Response((await bcrypt.compare("x", await bcrypt.hash("x", 4))) ? "bcrypt hello" : ""); }
""",
    "canvas": """
import { createCanvas } from "@napi-rs/canvas";
export function GET() {
  const canvas = createCanvas(40, 30);
  canvas.getContext("2d").fillRect(1, 1, 9, 9);
  return new Response(canvas.toBuffer("image/png").subarray(1, 4).toString() === "PNG" ? "canvas hello" : "wrong");
}
""",
    "crt": """
import { checksums } from "aws-crt";
export function GET() { return new Response(checksums.crc32("x") ? "crt hello" : "wrong"); }
""",
    "sharp": """
import sharp from "sharp";
export async function GET() {
  const made = await sharp({ create: { width: 9, height: 9, channels: 3, background: "red" } }).webp().toBuffer();
  return new Response(made.subarray(8, 12).toString() === "WEBP" ? "sharp hello" : "wrong");
}
""",
    "libsql": """
import { createClient } from "@libsql/client";
export async function GET() {
  const client = createClient({ url: "file:/tmp/test.db" });
  const found = await client.execute("select 'hello' as word");
  return new Response("libsql " + found.rows[0].word);
}
""",
}
_NEEDS = {
    "argon2": "0.44.0",
    "bcrypt": "6.0.0",
    "@napi-rs/canvas": "0.1.84",
    "aws-crt": "1.32.3",
    "sharp": "0.34.5",
    "@libsql/client": "0.15.15",
}
_NEVER_BUNDLED = {"@napi-rs/canvas"}


def natives(line: str, *, manager: str = "npm", outside: bool = True) -> Stranger:
    """A route for each package; `outside` says whether next.config keeps them out of the bundle.

    Without it one is left out: Next.js can bundle no `.node` file, and keeps that package out by no list of its own.
    """
    needs = {name: version for name, version in _NEEDS.items() if outside or name not in _NEVER_BUNDLED}
    routes = {name: text for name, text in _ROUTES.items() if outside or _NEVER_BUNDLED.isdisjoint(text.split('"'))}
    modern = line in ("15.5", "16")
    key = "serverExternalPackages" if modern else "serverComponentsExternalPackages"
    settings: dict[str, object] = {"images": {"formats": ["image/avif", "image/webp"]}}
    if outside:
        settings |= {key: sorted(needs)} if modern else {"experimental": {key: sorted(needs)}}
    return Stranger(
        files={
            "package.json": sites.package(
                dependencies=sites.next_needs(line) | needs,
                scripts={"build": "next build", "start": "next start"},
                **({"pnpm": {"onlyBuiltDependencies": ["sharp", "argon2", "bcrypt"]}} if manager == "pnpm" else {}),
            ),
            "next.config.mjs": f"export default {json.dumps(settings)};\n",
            "app/layout.jsx": nextstrangers.LAYOUT,
            "app/page.jsx": (
                'import Image from "next/image";\n'
                'export default () => <p>native home <Image src="/photo.png" alt="" width={64} height={64} /></p>;\n'
            ),
            **{f"app/{name}/route.js": _DYNAMIC + text for name, text in routes.items()},
        },
        binary={"public/photo.png": nextpieces.photo()},
        answers={"/": "native home", **{f"/{name}": f"{name} hello" for name in routes}},
        manager=manager,
    )


_SQLITE = """
import Database from "better-sqlite3";
export const dynamic = "force-dynamic";
export function GET() { return new Response("sqlite " + new Database(":memory:").prepare("select 'hello' as word").get().word); }
"""


def compiled(line: str = "16") -> Stranger:
    """A package that compiles itself when it is installed, unless it reaches the place of its binaries."""
    return Stranger(
        files={
            "package.json": sites.package(
                dependencies=sites.next_needs(line) | {"better-sqlite3": "12.4.1"},
                scripts={"build": "next build", "start": "next start"},
            ),
            "app/layout.jsx": nextstrangers.LAYOUT,
            "app/page.jsx": "export default () => <p>sqlite home</p>;\n",
            "app/db/route.js": _SQLITE,
        },
        answers={"/": "sqlite home", "/db": "sqlite hello"},
        manager="npm",
    )


_SCHEMA = """generator client {
  provider = "%s"
  %s
}
datasource db {
  provider = "sqlite"
}
model Note {
  id   Int    @id @default(autoincrement())
  text String
}
"""
_SETTINGS = """import { defineConfig } from "prisma/config";
export default defineConfig({ schema: "prisma/schema.prisma", datasource: { url: "file:./dev.db" } });
"""
_PRISMA = """
import { PrismaLibSql } from "@prisma/adapter-libsql";
import { PrismaClient } from "%s";
const prisma = new PrismaClient({ adapter: new PrismaLibSql({ url: "file:/tmp/notes.db" }) });
export const dynamic = "force-dynamic";
export async function GET() {
  await prisma.$executeRawUnsafe("create table if not exists Note (id integer primary key autoincrement, text text not null)");
  await prisma.note.create({ data: { text: "hello" } });
  return new Response("prisma " + (await prisma.note.findFirst()).text);
}
"""
# the engine for migrations comes from no registry, and generating a client only looks whether it is there
_NO_ENGINE = "PRISMA_SCHEMA_ENGINE_BINARY=/bin/true"
# webpack takes libSQL's README files for modules, whoever builds it
_LIBSQL_OUTSIDE = 'export default { serverExternalPackages: ["@prisma/adapter-libsql"] };\n'


def prisma(line: str = "16", *, output: str = "", manager: str = "npm") -> Stranger:
    """Prisma 7, which has no engine of its own at run time, over libSQL.

    `output` is the generated client's own folder (TypeScript); without it the client is in node_modules/.prisma.
    """
    client = f"../../{output}/client" if output else "@prisma/client"
    generator = ("prisma-client", f'output = "../{output}"') if output else ("prisma-client-js", "")
    return Stranger(
        files={
            "package.json": sites.package(
                dependencies=sites.next_needs(line)
                | {"@prisma/client": "7.10.0", "@prisma/adapter-libsql": "7.10.0", "prisma": "7.10.0"},
                scripts={"build": f"{_NO_ENGINE} prisma generate && next build", "start": "next start"},
                **({"pnpm": {"onlyBuiltDependencies": ["prisma", "@prisma/client"]}} if manager == "pnpm" else {}),
            ),
            "prisma/schema.prisma": _SCHEMA % generator,
            "prisma.config.ts": _SETTINGS,
            "app/layout.jsx": nextstrangers.LAYOUT,
            "app/page.jsx": "export default () => <p>prisma home</p>;\n",
            "app/notes/route.js": _PRISMA % client,
            **({} if line == "16" else {"next.config.mjs": _LIBSQL_OUTSIDE}),
        },
        answers={"/": "prisma home", "/notes": "prisma hello"},
        manager=manager,
    )
