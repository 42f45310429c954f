"""One small Next.js app with everything that has a trace of its own, for any supported major; built for real."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployd.domain.ids import BuildId
from deployd.domain.stages import BuildOutput, BuildPlan, FileSet
from tests.support.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAJORS = {"13": "13.5.11", "14": "14.2.35", "15": "15.5.29", "16": "16.4.6"}
INCLUDES = {"/api/hello": ["./data/**/*.txt"], r"/dyn/\[\[\.\.\.slug\]\]": ["public/*"]}
EXCLUDES = {"/api/*": ["./node_modules/sonic-boom/**"]}

FILES = {
    "app/layout.jsx": "export default function L({children}){return <html><body>{children}</body></html>}",
    "app/page.jsx": "export default function P(){return <p>home</p>}",
    "app/fresh/page.jsx": "export const revalidate=1; export default function P(){return <p>{Date.now()}</p>}",
    "app/dyn/[[...slug]]/page.jsx": 'export const dynamic="force-dynamic"; export default function P(){return <p>dynamic</p>}',
    "app/api/hello/route.js": """
import pino from "pino"; import fs from "node:fs";
export const dynamic = "force-dynamic";
export async function GET(){
  pino({level:"silent"}).info("x");
  return new Response(fs.existsSync(["data", "words.txt"].join("/")) ? "words" : "none");
}
""",
    "app/api/edge/route.js": """
export const runtime="edge"; export const dynamic="force-dynamic"; export function GET(){return new Response("edge")}
""",
    "pages/legacy.jsx": "export default function L(){return <p>legacy</p>}",
    "pages/ssr.jsx": """
export async function getServerSideProps(){return {props:{t:"rendered"}}} export default function L({t}){return <p>{t}</p>}
""",
    "pages/api/old.js": "export default function h(q,r){r.json({old:1})}",
    "instrumentation.js": 'export async function register(){ console.log("instrumented") }',
    "data/words.txt": "words",
    "data/deep/.dot.txt": "deep",
    "public/robots.txt": "User-agent: *",
    ".env": "COMMITTED=1",
    "own.js": """
const next = require("next"); const http = require("http"); const fs = require("fs"); const path = require("path");
const app = next({ dev: false, dir: __dirname });
const motd = fs.readFileSync(path.join(__dirname, "motd.txt"), "utf8");
app.prepare().then(() => http.createServer((q, r) => q.url === "/motd" ? r.end(motd) : app.getRequestHandler()(q, r))
  .listen(process.env.PORT, "localhost"));
""",
    "motd.txt": "of the app's own server",
}
ANSWERS = {
    "/": "home", "/fresh": "<p>", "/dyn/a/b": "dynamic", "/api/hello": "", "/api/edge": "edge", "/legacy": "legacy",
    "/ssr": "rendered", "/api/old": '"old":1', "/robots.txt": "User-agent",
}  # fmt: skip


@dataclass(frozen=True)
class NextSmall:
    """The app of one major in a folder, with its packages installed."""

    folder: Path
    major: str

    @classmethod
    def make(cls, folder: Path, *, major: str) -> NextSmall:
        app = cls(folder, major)
        react = "18.3.1" if int(major) < 15 else "19.2.0"
        needs = {"next": MAJORS[major], "react": react, "react-dom": react, "pino": "9.5.0"}
        package = {"name": "shop", "private": True, "scripts": {"build": "next build"}, "dependencies": needs}
        name = "proxy" if int(major) > 15 else "middleware"
        early = f"import {{NextResponse}} from 'next/server'; export function {name}(){{return NextResponse.next()}}"
        files = FILES | {f"{name}.js": early + " export const config={matcher:['/dyn/:path*']}"}
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        (folder / "package.json").write_text(json.dumps(package))
        app._run("npm", "install", "--no-audit", "--no-fund", "--silent")
        return app

    @property
    def dist(self) -> Path:
        return self.folder / ".next"

    def build(self, *, standalone: bool, config: dict[str, Any] | None = None, **env: str) -> None:
        """`next build`, from nothing, with these variables."""
        old: dict[str, Any] = {"instrumentationHook": True, "serverComponentsExternalPackages": ["pino"]}
        if int(self.major) < 15:
            old |= {"serverActions": True} if self.major == "13" else {}
            settled: dict[str, Any] = {"experimental": old | (config or {})}
        else:
            settled = {"serverExternalPackages": ["pino"]} | (config or {})
        (self.folder / "next.config.js").write_text(f"module.exports = {json.dumps(settled)}")
        shutil.rmtree(self.dist, ignore_errors=True)
        self._run("npx", "next", "build", **env, **({"NEXT_PRIVATE_STANDALONE": "1"} if standalone else {}))

    def output(self, **fields: Any) -> BuildOutput:
        plan = BuildPlan(
            framework="nextjs", framework_version=MAJORS[self.major], manager="npm", manager_version=None, install=(),
            command=(), node="22.23.3", lockfile=str(self.folder / "package-lock.json"), lockfile_sha256="",
            build_id=BuildId("b" + "0" * 20),
        )  # fmt: skip
        where = str(self.folder)
        return BuildOutput(root=where, app_dir=where, plan=plan, built=1, log="", seconds=0.0, **fields)

    def _run(self, *argv: str, **env: str) -> None:
        settled = os.environ | {"CI": "1", "NEXT_TELEMETRY_DISABLED": "1"} | env
        settled.pop("NODE_ENV", None)
        done = subprocess.run(argv, cwd=self.folder, env=settled, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def lay_out(files: FileSet, into: Path) -> Path:
    """The files alone, as a host has them."""
    for file in files.files:
        path = into / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.symlink is not None:
            path.symlink_to(file.symlink)
        else:
            shutil.copyfile(file.source, path)
    return into


@contextmanager
def running(folder: Path, entry: str) -> Iterator[int]:
    """The server, alone; gives its port."""
    port = free_port()
    env = {"PATH": os.environ["PATH"], "PORT": str(port), "HOSTNAME": "localhost", "NODE_ENV": "production"}
    log = (folder.parent / f"{folder.name}.log").open("w+b")
    process = subprocess.Popen(["node", entry], cwd=folder, env=env, stdout=log, stderr=log)
    try:
        for _ in range(400):
            try:
                ask(port, "/robots.txt")
                break
            except OSError:
                assert process.poll() is None, log.seek(0) or log.read().decode()
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def ask(port: int, path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("localhost", port, timeout=20)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()
