"""Apps as strangers have them: one for each habit that is known to go wrong elsewhere, with what its pages must answer."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support import nextpieces as pieces
from tests.support import sites

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LAYOUT = "export default function Layout({ children }) { return <html><body>{children}</body></html>; }\n"


@dataclass(frozen=True, kw_only=True)
class Stranger:
    """An app's files by path; `folder` is its place in the repository; `answers` are paths with a text of each answer.

    `redirects` are paths with where they lead; `after` makes files once the packages are installed for the lock file.
    """

    files: Mapping[str, str]
    answers: Mapping[str, str]
    redirects: Mapping[str, str] = field(default_factory=dict)
    statuses: Mapping[str, int] = field(default_factory=dict)
    manager: str = "npm"
    folder: str = ""
    binary: Mapping[str, bytes] = field(default_factory=dict)

    def write(self, into: Path) -> None:
        """Write the files."""
        for name, text in self.files.items():
            path = into / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for name, data in self.binary.items():
            (into / name).parent.mkdir(parents=True, exist_ok=True)
            (into / name).write_bytes(data)


def _package(
    line: str, *, tools: Mapping[str, str] | None = None, more: Mapping[str, object] | None = None, **needs: str
) -> str:
    return sites.package(
        name="shop",
        dependencies=sites.next_needs(line) | needs,
        devDependencies=dict(tools or {}),
        **{"scripts": {"build": "next build", "start": "next start"}, **(more or {})},
    )


TYPES = {"typescript": "5.9.3", "@types/node": "22.10.7", "@types/react": "19.2.0", "@types/react-dom": "19.2.0"}


def styled() -> Stranger:
    """Next.js 16 in TypeScript: an async next.config.ts, Tailwind, Sass, MDX, a content folder that is read at run time."""
    return Stranger(
        files={
            "package.json": _package(
                "16",
                tools=TYPES | {"tailwindcss": "4.1.14", "@tailwindcss/postcss": "4.1.14", "sass": "1.93.2"},
                **{"@next/mdx": "16.4.6", "@mdx-js/loader": "3.1.1", "@mdx-js/react": "3.1.1", "gray-matter": "4.0.3"},
            ),
            "next.config.ts": """
import createMDX from "@next/mdx";
import type { NextConfig } from "next";
const config: NextConfig = { pageExtensions: ["ts", "tsx", "mdx"], poweredByHeader: false, compress: false };
export default async () => createMDX({})(config);
""",
            "postcss.config.mjs": 'export default { plugins: { "@tailwindcss/postcss": {} } };\n',
            "mdx-components.tsx": "export function useMDXComponents(parts: object) { return parts; }\n",
            "src/app/globals.css": '@import "tailwindcss";\n',
            "src/app/look.module.scss": "$size: 3px; .box { border: $size solid; &:hover { border-width: 4px } }\n",
            "src/app/layout.tsx": """
import "./globals.css";
import type { ReactNode } from "react";
export default function Layout({ children }: { children: ReactNode }) { return <html><body className="p-4">{children}</body></html>; }
""",
            "src/app/page.tsx": """
import look from "./look.module.scss";
export default function Home() { return <p className={`${look.box} text-red-500`}>styled home</p>; }
""",
            "src/app/about/page.mdx": "# written in MDX\n\nSome *text*.\n",
            "src/app/read/[slug]/page.tsx": """
import { readFile, readdir } from "node:fs/promises";
import path from "node:path";
import matter from "gray-matter";
export const dynamic = "force-dynamic";
const folder = path.join(process.cwd(), "content");
export default async function Read({ params }: { params: Promise<{ slug: string }> }) {
  const { slug } = await params;
  const { data, content } = matter(await readFile(path.join(folder, `${slug}.md`), "utf8"));
  return <p>{data.title} of {(await readdir(folder)).length}: {content}</p>;
}
""",
            "content/one.md": "---\ntitle: First\n---\nthe text of one\n",
            "content/two.md": "---\ntitle: Second\n---\nthe text of two\n",
        },
        answers={"/": "styled home", "/about": "written in MDX", "/read/one": "the text of one", "/read/two": "Second"},
    )


def heavy(line: str = "16") -> Stranger:
    """Packages that read files of theirs or load native code: pdfkit, jsdom, bcrypt, pino with a transport, argon2."""
    names = ["pdfkit", "jsdom", "bcrypt", "pino", "pino-pretty", "@node-rs/argon2"]
    key = "serverExternalPackages" if line in ("15.5", "16") else "serverComponentsExternalPackages"
    settings = {key: names} if line in ("15.5", "16") else {"experimental": {key: names}}
    return Stranger(
        files={
            "package.json": _package(
                line, **{"pdfkit": "0.17.2", "jsdom": "26.1.0", "bcrypt": "6.0.0", "pino": "9.5.0", "pino-pretty": "13.0.0",
                         "@node-rs/argon2": "2.0.2"},
            ),
            "next.config.mjs": f"export default {json.dumps(settings)};\n",
            "app/layout.jsx": LAYOUT,
            "app/page.jsx": "export default function Home() { return <p>heavy home</p>; }\n",
            "app/pdf/route.js": """
import PDFDocument from "pdfkit";
export const dynamic = "force-dynamic";
export async function GET() {
  const made = new PDFDocument(); const parts = [];
  made.on("data", (part) => parts.push(part));
  const ended = new Promise((resolve) => made.on("end", resolve));
  made.text("a page"); made.end(); await ended;
  return new Response(Buffer.concat(parts));
}
""",
            "app/dom/route.js": """
import { JSDOM } from "jsdom";
export const dynamic = "force-dynamic";
export function GET() { return new Response(new JSDOM("<p>from a dom</p>").window.document.querySelector("p").textContent); }
""",
            "app/hash/route.js": """
import bcrypt from "bcrypt";
import { hash } from "@node-rs/argon2";
export const dynamic = "force-dynamic";
export async function GET() { return new Response((await bcrypt.hash("x", 4)) + " " + (await hash("x"))); }
""",
            "app/log/route.js": """
import pino from "pino";
export const dynamic = "force-dynamic";
const log = pino({ transport: { target: "pino-pretty" } });
export function GET() { log.info("told by a worker"); return new Response("logged"); }
""",
        },
        answers={"/": "heavy home", "/pdf": "%PDF", "/dom": "from a dom", "/hash": "$argon2id$", "/log": "logged"},
    )  # fmt: skip


def cached() -> Stranger:
    """Next.js 16 with cacheComponents: `use cache`, a page that is made in two parts, tags."""
    return Stranger(
        manager="pnpm",
        files={
            "package.json": _package("16"),
            "next.config.mjs": "export default { cacheComponents: true };\n",
            "app/layout.jsx": LAYOUT,
            "app/page.jsx": """
import { Suspense } from "react";
import { cookies } from "next/headers";
import { cacheLife, cacheTag } from "next/cache";
async function Kept() { "use cache"; cacheLife("hours"); cacheTag("kept"); return <b>at={Date.now()};</b>; }
async function Own() { return <i>name={(await cookies()).get("name")?.value ?? "nobody"};</i>; }
export default function Home() { return <p>the shell <Kept /><Suspense fallback="..."><Own /></Suspense></p>; }
""",
            "app/again/route.js": """
import { revalidateTag } from "next/cache";
export async function POST() { revalidateTag("kept", { expire: 0 }); return new Response("again"); }
""",
        },
        answers={"/": "the shell"},
    )


def worded(line: str = "15.5") -> Stranger:
    """next-intl as its guide has it: everything below [locale], a middleware (proxy), a plugin, no page at `/`."""
    early = "proxy" if line == "16" else "middleware"
    return Stranger(
        manager="pnpm",
        files={
            "package.json": _package(
                line, tools=TYPES, more={"pnpm": {"overrides": {"use-intl": "4.3.12"}}}, **{"next-intl": "4.3.12"}
            ),
            "next.config.ts": """
import createNextIntlPlugin from "next-intl/plugin";
export default createNextIntlPlugin()({ trailingSlash: false });
""",
            f"src/{early}.ts": """
import createMiddleware from "next-intl/middleware";
import { routing } from "./i18n/routing";
export default createMiddleware(routing);
export const config = { matcher: "/((?!api|_next|_vercel|.*\\\\..*).*)" };
""",
            "src/i18n/routing.ts": """
import { defineRouting } from "next-intl/routing";
export const routing = defineRouting({ locales: ["en", "de"], defaultLocale: "en" });
""",
            "src/i18n/request.ts": """
import { getRequestConfig } from "next-intl/server";
import { routing } from "./routing";
export default getRequestConfig(async ({ requestLocale }) => {
  const asked = await requestLocale;
  const locale = routing.locales.find((one) => one === asked) ?? routing.defaultLocale;
  return { locale, messages: (await import(`../../messages/${locale}.json`)).default };
});
""",
            "src/app/[locale]/layout.tsx": """
import { NextIntlClientProvider } from "next-intl";
import type { ReactNode } from "react";
export default async function Layout({ children, params }: { children: ReactNode; params: Promise<{ locale: string }> }) {
  return <html lang={(await params).locale}><body><NextIntlClientProvider>{children}</NextIntlClientProvider></body></html>;
}
""",
            "src/app/[locale]/page.tsx": """
import { useTranslations } from "next-intl";
export default function Home() { return <p>{useTranslations("Home")("title")}</p>; }
""",
            "messages/en.json": '{"Home": {"title": "good morning"}}\n',
            "messages/de.json": '{"Home": {"title": "guten Morgen"}}\n',
        },
        answers={"/en": "good morning", "/de": "guten Morgen"},
        redirects={"/": "/en"},
    )


def old_pages() -> Stranger:
    """14.2, pages, next-i18next, an assetPrefix that is a path, another distDir, a cacheHandler, uploads without a parser."""
    return Stranger(
        files={
            "package.json": _package(
                "14.2", **{"next-i18next": "15.4.2", "react-i18next": "15.4.0", "i18next": "24.2.3"}
            ),
            "next-i18next.config.js": 'module.exports = { i18n: { defaultLocale: "en", locales: ["en", "de"] } };\n',
            "next.config.js": """
const { i18n } = require("./next-i18next.config");
module.exports = (phase, { defaultConfig }) => ({
  i18n, distDir: "build", assetPrefix: "/cdn", cacheHandler: require.resolve("./cache-handler.js"), cacheMaxMemorySize: 0,
});
""",
            "cache-handler.js": """
const { kept } = require("./lib/kept");
module.exports = class Handler {
  async get(key) { return kept.get(key) ?? null; }
  async set(key, data) { kept.set(key, { value: data, lastModified: Date.now() }); }
  async revalidateTag() { kept.clear(); }
};
""",
            "lib/kept.js": "exports.kept = new Map();\n",
            "public/locales/en/common.json": '{"title": "good morning"}\n',
            "public/locales/de/common.json": '{"title": "guten Morgen"}\n',
            "pages/_app.jsx": """
import { appWithTranslation } from "next-i18next";
export default appWithTranslation(({ Component, pageProps }) => <Component {...pageProps} />);
""",
            "pages/index.jsx": """
import { useTranslation } from "next-i18next";
import { serverSideTranslations } from "next-i18next/serverSideTranslations";
export async function getServerSideProps({ locale }) { return { props: await serverSideTranslations(locale, ["common"]) }; }
export default function Home() { return <p>{useTranslation("common").t("title")}</p>; }
""",
            "pages/fresh.jsx": pieces.PAGES["pages/p/fresh.jsx"],
            "pages/api/raw.js": pieces.PAGES["pages/api/p/raw.js"],
        },
        answers={"/": "good morning", "/de": "guten Morgen", "/fresh": "at=", "/api/raw": '"bytes":0'},
    )


def handlers_only() -> Stranger:
    """15.5 with route handlers alone, as an ES module, behind a password: nothing at `/`."""
    return Stranger(
        files={
            "package.json": _package("15.5", more={"type": "module"}),
            "next.config.js": "export default { generateBuildId: async () => 'my-own-build-id' };\n",
            "app/layout.jsx": LAYOUT,
            "app/api/v1/[...rest]/route.js": """
export async function GET(request, { params }) { return Response.json({ rest: (await params).rest, port: new URL(request.url).port }); }
""",
        },
        answers={"/api/v1/a/b": '"rest":["a","b"]'},
        statuses={"/": 404},
    )


def beside(line: str = "16") -> Stranger:
    """As Nx lays it out: the app in apps/web, its distDir at the top's dist/, one package.json for all."""
    return Stranger(
        folder="apps/web",
        files={
            "package.json": _package(line, more={"workspaces": ["apps/*"], "scripts": {}}),
            "apps/web/package.json": sites.package(
                name="web", dependencies=sites.next_needs(line), scripts={"build": "next build"}
            ),
            "apps/web/next.config.js": 'module.exports = { distDir: "../../dist/apps/web/.next" };\n',
            "apps/web/app/layout.jsx": LAYOUT,
            "apps/web/app/page.jsx": "export default function Home() { return <p>home beside</p>; }\n",
            "apps/web/app/fresh/page.jsx": pieces.APP["app/fresh/page.jsx"],
            "apps/web/app/hello/route.js": "export const dynamic = 'force-dynamic'; export const GET = () => new Response('hello');\n",
        },
        answers={"/": "home beside", "/fresh": "at=", "/hello": "hello"},
    )


def described() -> Stranger:
    """A next.config that asks git which commit it is, Sentry around it, and instrumentation for both runtimes."""
    return Stranger(
        manager="pnpm",
        files={
            "package.json": _package("15.5", **{"@sentry/nextjs": "10.20.0"}),
            "next.config.mjs": """
import { execSync } from "node:child_process";
import { withSentryConfig } from "@sentry/nextjs";
const commit = execSync("git rev-parse HEAD").toString().trim();
export default withSentryConfig(
  { env: { COMMIT: commit }, generateBuildId: () => execSync("git rev-parse --short HEAD").toString().trim() },
  { silent: true, telemetry: false, sourcemaps: { disable: true } });
""",
            "instrumentation.js": """
import * as Sentry from "@sentry/nextjs";
export async function register() { if (process.env.NEXT_RUNTIME === "nodejs") await import("./sentry.server.config"); }
export const onRequestError = Sentry.captureRequestError;
""",
            "sentry.server.config.js": """
import * as Sentry from "@sentry/nextjs";
Sentry.init({ dsn: "http://key@127.0.0.1:9/1", tracesSampleRate: 1 });
""",
            "app/layout.jsx": LAYOUT,
            "app/page.jsx": "export default function Home() { return <p>made of {process.env.COMMIT};</p>; }\n",
            "app/live/page.jsx": "export const dynamic = 'force-dynamic'; export default function Live() { return <p>live</p>; }\n",
        },
        answers={"/": "made of ", "/live": "live"},
    )


def turbo() -> Stranger:
    """What create-next-app 15.5 makes: `next build --turbopack`; a package outside of the bundle, an image."""
    return Stranger(
        manager="pnpm",
        files={
            "package.json": _package(
                "15.5",
                more={"scripts": {"build": "next build --turbopack", "start": "next start"}},
                pino="9.5.0",
            ),
            "next.config.mjs": 'export default { serverExternalPackages: ["pino"] };\n',
            "src/app/layout.jsx": LAYOUT,
            "src/app/page.jsx": """
import Image from "next/image";
import photo from "./photo.png";
export default function Home() { return <p>turbo home <Image src={photo} alt="" placeholder="blur" width={320} /></p>; }
""",
            "src/app/log/route.js": """
import pino from "pino";
export const dynamic = "force-dynamic";
export function GET() { return new Response("logged by " + typeof pino({ level: "silent" }).info); }
""",
            "src/middleware.js": """
import { NextResponse } from "next/server";
export function middleware(request) { return NextResponse.rewrite(new URL("/log", request.url)); }
export const config = { matcher: "/early" };
""",
        },
        binary={"src/app/photo.png": pieces.photo(320, 240)},
        answers={"/": "turbo home", "/log": "logged by function", "/early": "logged by function"},
    )


STRANGERS: dict[str, Callable[[], Stranger]] = {
    "styled": styled,
    "heavy-16": heavy,
    "heavy-14.2": lambda: heavy("14.2"),
    "cached": cached,
    "worded-15.5": worded,
    "worded-16": lambda: worded("16"),
    "old-pages": old_pages,
    "handlers-only": handlers_only,
    "beside": beside,
    "described": described,
    "turbo": turbo,
}
