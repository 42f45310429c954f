"""Small pieces of Next.js apps by path, for either router, each with one feature that visitors can ask for."""

from __future__ import annotations

import struct
import zlib

APP = {
    "app/layout.jsx": """
import "./global.css";
export const metadata = { title: "shop", metadataBase: new URL("http://shop.test") };
export default function Layout({ children }) { return <html lang="en"><body>{children}</body></html>; }
""",
    "app/global.css": "body { margin: 0 }\n",
    "app/page.module.css": ".title { color: rgb(1, 2, 3) }\n",
    "app/page.jsx": """
import Image from "next/image";
import Link from "next/link";
import styles from "./page.module.css";
import Counter from "../lib/counter";
export default function Home() {
  return <main><h1 className={styles.title}>home of app</h1><Counter />
    <Image src="/photo.png" alt="photo" width={320} height={240} /><Link href="/blog/one">one</Link></main>;
}
""",
    "app/blog/[slug]/page.jsx": """
export const revalidate = 3600;
export function generateStaticParams() { return [{ slug: "one" }]; }
export default async function Post({ params }) { const { slug } = await params; return <p>post {slug}</p>; }
""",
    "app/fixed/[id]/page.jsx": """
export const dynamicParams = false;
export function generateStaticParams() { return [{ id: "a" }]; }
export default async function Fixed({ params }) { const { id } = await params; return <p>fixed {id}</p>; }
""",
    "app/fresh/page.jsx": """
export const revalidate = 1;
export default function Fresh() { return <p>at={Date.now()};</p>; }
""",
    "app/stock/page.jsx": """
import { unstable_cache } from "next/cache";
const stock = unstable_cache(async () => Date.now(), ["stock"], { tags: ["stock"] });
export default async function Stock() { return <p>at={await stock()};</p>; }
""",
    "app/api/hello/[name]/route.js": """
export const dynamic = "force-dynamic";
export async function GET(request, { params }) { return Response.json({ hello: (await params).name }); }
export async function POST(request) { return Response.json({ bytes: (await request.arrayBuffer()).byteLength }); }
""",
    "app/api/stream/route.js": """
export const dynamic = "force-dynamic";
export function GET() {
  const body = new ReadableStream({ async start(controller) {
    for (const word of ["first ", "second ", "last"]) {
      controller.enqueue(new TextEncoder().encode(word));
      await new Promise((resolve) => setTimeout(resolve, 300));
    }
    controller.close();
  } });
  return new Response(body, { headers: { "content-type": "text/plain" } });
}
""",
    "app/slow/page.jsx": """
import { Suspense } from "react";
export const dynamic = "force-dynamic";
async function Late() { await new Promise((resolve) => setTimeout(resolve, 600)); return <p>late part</p>; }
export default function Slow() { return <div><p>early part</p><Suspense fallback={<i>wait</i>}><Late /></Suspense></div>; }
""",
    "app/action/actions.js": """
"use server";
import { cookies } from "next/headers";
import { redirect } from "next/navigation";
export async function add(form) {
  const jar = await cookies();
  jar.set("sum", String(Number(jar.get("sum")?.value ?? 0) + Number(form.get("number"))));
  redirect("/action/done");
}
export async function double(number) { return number * 2; }
""",
    "app/action/page.jsx": """
import { add } from "./actions";
import Doubler from "../../lib/doubler";
export default function Page() { return <div><form action={add}><input name="number" /><button>add</button></form><Doubler /></div>; }
""",
    "app/action/done/page.jsx": """
import { cookies, headers } from "next/headers";
export default async function Done() {
  return <p>sum={(await cookies()).get("sum")?.value};host={(await headers()).get("x-forwarded-host")};</p>;
}
""",
    "app/draft/route.js": """
import { draftMode } from "next/headers";
export const dynamic = "force-dynamic";
export async function GET() { (await draftMode()).enable(); return new Response("on"); }
""",
    "app/drafted/page.jsx": """
import { draftMode } from "next/headers";
export default async function Drafted() { return <p>draft={String((await draftMode()).isEnabled)};</p>; }
""",
    "app/away/route.js": """
import { NextResponse } from "next/server";
export const dynamic = "force-dynamic";
export function GET(request) { return NextResponse.redirect(new URL("/landed", request.url)); }
""",
    "app/landed/page.jsx": "export default function Landed() { return <p>landed here</p>; }\n",
    "app/api/edge/route.js": """
export const runtime = "edge";
export const dynamic = "force-dynamic";
export function GET() { return new Response("edge " + typeof EdgeRuntime); }
""",
    "app/opengraph-image.jsx": """
import { ImageResponse } from "next/og";
export const size = { width: 300, height: 200 };
export const contentType = "image/png";
export default function Image() { return new ImageResponse(<div style={{ fontSize: 40 }}>shop</div>, size); }
""",
    "app/card/route.jsx": """
import { ImageResponse } from "next/og";
export const dynamic = "force-dynamic";
export function GET() { return new ImageResponse(<div style={{ fontSize: 40 }}>card</div>, { width: 300, height: 200 }); }
""",
    "app/sitemap.js": 'export default function map() { return [{ url: "http://shop.test/" }]; }\n',
    "app/robots.js": 'export default function robots() { return { rules: { userAgent: "*", allow: "/" } }; }\n',
    "app/manifest.js": 'export default function manifest() { return { name: "shop", start_url: "/" }; }\n',
    "app/not-found.jsx": "export default function None() { return <p>nothing here</p>; }\n",
    "app/(grouped)/gallery/layout.jsx": """
export default function Gallery({ children, side }) { return <section>{children}<aside>{side}</aside></section>; }
""",
    "app/(grouped)/gallery/page.jsx": "export default function Page() { return <p>gallery</p>; }\n",
    "app/(grouped)/gallery/default.jsx": "export default function Page() { return <p>gallery</p>; }\n",
    "app/(grouped)/gallery/@side/default.jsx": "export default function Side() { return <p>side part</p>; }\n",
    "app/(grouped)/gallery/@side/(.)photo/[id]/page.jsx": "export default function Shown() { return <p>over it</p>; }\n",
    "app/(grouped)/gallery/photo/[id]/page.jsx": """
export default async function Photo({ params }) { return <p>photo {(await params).id}</p>; }
""",
    "app/words/route.js": """
import { readFile } from "node:fs/promises";
import path from "node:path";
export const dynamic = "force-dynamic";
export async function GET() { return new Response(await readFile(path.join(process.cwd(), "data", "words.txt"))); }
""",
    "app/told/route.js": """
export const dynamic = "force-dynamic";
export function GET() { return Response.json({ instrumented: globalThis.instrumented === true, baked: process.env.NEXT_PUBLIC_BAKED }); }
""",
    "lib/doubler.jsx": """
"use client";
import { double } from "../app/action/actions";
export default function Doubler() { return <button onClick={async () => alert(await double(21))}>double</button>; }
""",
}
COMMON = {
    "lib/version.js": "export const version = 'version one';\n",
    "lib/counter.jsx": """
"use client";
import { useState } from "react";
import { version } from "./version";
export default function Counter() {
  const [count, setCount] = useState(0);
  return <button onClick={() => setCount(count + 1)}>{version} {count}</button>;
}
""",
    "data/words.txt": "words of a file\n",
    "public/file.txt": "a public file\n",
    "public/with space.txt": "a public file with a space\n",
    ".env": "COMMITTED_SECRET=never-travels-1\nNEXT_PUBLIC_BAKED=baked\n",
    ".env.production": "COMMITTED_SECRET=never-travels-2\n",
    ".npmrc": "fund=false\n",
    ".gitignore": "node_modules\n.next\nout\n",
}
PAGES = {
    "pages/_app.jsx": """
import "../styles/global.css";
export default function App({ Component, pageProps }) { return <Component {...pageProps} />; }
""",
    "pages/_document.jsx": """
import { Head, Html, Main, NextScript } from "next/document";
export default function Document() { return <Html><Head /><body><Main /><NextScript /></body></Html>; }
""",
    "styles/global.css": "body { padding: 0 }\n",
    "pages/p/index.jsx": """
import Image from "next/image";
import Counter from "../../lib/counter";
export default function Home() { return <main><h1>home of pages</h1><Counter /><Image src="/photo.png" alt="" width={320} height={240} /></main>; }
""",
    "pages/p/ssr.jsx": """
export function getServerSideProps({ req, query }) { return { props: { host: req.headers["x-forwarded-host"], q: query.q ?? "" } }; }
export default function Page({ host, q }) { return <p>rendered for={host};q={q};</p>; }
""",
    "pages/p/blog/[slug].jsx": """
export const getStaticPaths = () => ({ paths: [{ params: { slug: "one" } }], fallback: "blocking" });
export const getStaticProps = ({ params }) => ({ props: { slug: params.slug } });
export default function Post({ slug }) { return <p>post {slug}</p>; }
""",
    "pages/p/later/[id].jsx": """
import { useRouter } from "next/router";
export const getStaticPaths = () => ({ paths: [], fallback: true });
export const getStaticProps = ({ params }) => ({ props: { id: params.id }, revalidate: 60 });
export default function Later({ id }) { return useRouter().isFallback ? <p>loading</p> : <p>later {id}</p>; }
""",
    "pages/p/fresh.jsx": """
export const getStaticProps = () => ({ props: { at: Date.now() }, revalidate: 1 });
export default function Fresh({ at }) { return <p>at={at};</p>; }
""",
    "pages/p/stock.jsx": """
export const getStaticProps = () => ({ props: { at: Date.now() } });
export default function Stock({ at }) { return <p>at={at};</p>; }
""",
    "pages/api/p/again.js": """
export default async function handler(request, response) { await response.revalidate(request.query.path); response.json({ again: true }); }
""",
    "pages/api/p/hello.js": "export default function handler(request, response) { response.json({ hello: request.query.name }); }\n",
    "pages/api/p/raw.js": """
export const config = { api: { bodyParser: false } };
export default async function handler(request, response) {
  let bytes = 0;
  for await (const chunk of request) bytes += chunk.length;
  response.json({ bytes });
}
""",
    "pages/api/p/edge.js": """
export const config = { runtime: "edge" };
export default function handler() { return new Response("edge " + typeof EdgeRuntime); }
""",
    "pages/api/p/stream.js": """
export default async function handler(request, response) {
  response.setHeader("content-type", "text/event-stream");
  response.setHeader("cache-control", "no-cache, no-transform");
  for (const word of ["first ", "second ", "last"]) {
    response.write(word);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  response.end();
}
""",
}
ONLY_PAGES = {
    "pages/index.jsx": "export { default } from './p/index';\n",
    "pages/landed.jsx": "export default function Landed() { return <p>landed here</p>; }\n",
    "pages/404.jsx": "export default function None() { return <p>nothing here</p>; }\n",
}
AGAIN = """
import { revalidatePath, revalidateTag } from "next/cache";
export const dynamic = "force-dynamic";
export function GET(request) {
  const asked = new URL(request.url).searchParams;
  if (asked.get("tag")) revalidateTag(asked.get("tag")%(profile)s);
  if (asked.get("path")) revalidatePath(asked.get("path"));
  return Response.json({ again: true });
}
"""
EARLY = """
import { NextResponse } from "next/server";
export %(function)s(request) {
  const url = request.nextUrl.clone();
  if (url.pathname.startsWith("/mw/rewrite")) { url.pathname = "%(target)s"; return NextResponse.rewrite(url); }
  if (url.pathname.startsWith("/mw/redirect")) return NextResponse.redirect(new URL("%(base)s/landed", request.url));
  if (url.pathname.startsWith("/mw/answer")) return new NextResponse("from the middleware", { status: 418 });
  const next = NextResponse.next();
  next.headers.set("x-early", "seen");
  return next;
}
export const config = { matcher: ["/mw/:path*", "/landed"]%(runtime)s };
"""
INSTRUMENTATION = "export async function register() { globalThis.instrumented = true; }\n"
SERVER = """
const { createServer } = require("node:http");
const { createHash } = require("node:crypto");
const next = require("next");
const port = Number(process.env.PORT || 3000);
const app = next({ dev: process.env.NODE_ENV !== "production", hostname: "localhost", port });
app.prepare().then(() => {
  const handle = app.getRequestHandler();
  const server = createServer((request, response) =>
    request.url === "/own" ? response.end("of my own server") : handle(request, response));
  server.on("upgrade", (request, socket) => {
    if (request.url !== "/socket") return;
    socket.resume().on("end", () => socket.end());
    const accept = createHash("sha1").update(request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    socket.write("HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: " +
      accept.digest("base64") + "\\r\\n\\r\\n");
    socket.write(Buffer.from([0x81, 5, ...Buffer.from("hello")]));
  });
  server.listen(port, () => console.log("my own server is ready"));
});
"""


def photo(width: int = 640, height: int = 480) -> bytes:
    """A PNG that compresses badly, so that WebP and AVIF are much smaller."""
    seed, rows = 1, []
    for y in range(height):
        row = bytearray(b"\0")
        for x in range(width):
            seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
            row += bytes(((x * 255 // width) ^ (seed >> 28), y * 255 // height, (seed >> 24) & 63))
        rows.append(bytes(row))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
