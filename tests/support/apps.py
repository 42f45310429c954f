"""Small apps as artifacts: a plain Node.js server whose behaviour a test chooses, packaged by the real stage in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from deployd.domain.stages import FileSet, TracedFile
from deployd.stages import package

if TYPE_CHECKING:
    from pathlib import Path

SERVER = """
const http = require("node:http");
const fs = require("node:fs");
const VERSION = %(version)r;
%(before)s
const server = http.createServer((request, response) => {
  const url = new URL(request.url, "http://x");
  if (url.pathname === "/health") {
    response.statusCode = %(health)d;
    return response.end("health\\n");
  }
  if (url.pathname === "/env") return response.end(String(process.env[url.searchParams.get("name")]));
  if (url.pathname === "/slow") return setTimeout(() => response.end("slow " + VERSION), Number(url.searchParams.get("ms")));
  if (url.pathname === "/write") {
    try { fs.writeFileSync(__dirname + "/server.js", "x"); return response.end("written"); }
    catch (error) { return response.end(error.code); }
  }
  if (url.pathname === "/cache") {
    fs.writeFileSync(__dirname + "/.cache/x", VERSION);
    return response.end(fs.readFileSync(__dirname + "/.cache/x"));
  }
  if (url.pathname === "/crash") process.exit(1);
  if (url.pathname === "/log") { console.log("said " + url.searchParams.get("text")); return response.end("ok"); }
  if (request.method === "POST") {
    let body = "";
    request.on("data", (chunk) => { body += chunk; });
    return request.on("end", () => response.end("posted " + body));
  }
  response.setHeader("content-type", "text/plain");
  response.end("version " + VERSION + "\\n");
});
server.listen(process.env.PORT, process.env.HOSTNAME);
"""


@dataclass(frozen=True)
class App:
    """What the server does: its `version`, the status of /health, and code that runs before it listens."""

    version: str = "1"
    health: int = 200
    before: str = ""
    files: int = 0


def make(app: App, *, into: Path) -> Path:
    """Write an artifact file for `app`; returns its path."""
    root = into / f"app-{app.version}"
    (root / "public").mkdir(parents=True, exist_ok=True)
    (root / "assets").mkdir(exist_ok=True)
    contents = {
        "server.js": SERVER % {"version": app.version, "before": app.before, "health": app.health},
        "public/robots.txt": f"# {app.version}\n",
        f"assets/chunk-{app.version}.js": f"console.log({app.version!r})",
        "assets/[slug].js": "console.log('slug')",
    }
    contents |= {f"lib/{n // 100}/{n}.js": f"module.exports = {n}; // {'x' * (n % 500)}" for n in range(app.files)}
    for path, text in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    files = FileSet(
        root=str(root),
        entry="server.js",
        files=tuple(
            TracedFile(path=path, source=str(root / path), size=len(text)) for path, text in sorted(contents.items())
        ),
        writable={"cache": ".cache"},
        assets={"/_next/static": "assets"},
        public={"/": "public"},
    )
    artifact = package.package(files, built=1_700_000_000, artifacts=into / "artifacts")
    target = into / f"app-{app.version}.tar.gz"
    package.export(into / "artifacts", artifact.name, to=target)
    return target
