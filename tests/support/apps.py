"""Small apps as artifacts: a plain Node.js server whose behaviour a test chooses, packaged by the real stage in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from deployd.domain.artifact import StaticSite
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
    contents = {
        "server.js": SERVER % {"version": app.version, "before": app.before, "health": app.health},
        "public/robots.txt": f"# {app.version}\n",
        f"assets/chunk-{app.version}.js": f"console.log({app.version!r})",
        "assets/[slug].js": "console.log('slug')",
    }
    contents |= {f"lib/{n // 100}/{n}.js": f"module.exports = {n}; // {'x' * (n % 500)}" for n in range(app.files)}
    return pack(
        root, contents, writable={"cache": ".cache"}, assets={"/_next/static": "assets"}, public={"/": "public"}
    )


def make_site(version: str, *, into: Path) -> Path:
    """Write an artifact file for a static site of a few pages; returns its path."""
    contents = {
        "site/index.html": f"version {version}\n",
        "site/about.html": f"about {version}" + " and more" * 300,
        "site/404.html": f"nothing {version}",
        f"site/assets/app-{version}.js": f"console.log({version!r})",
    }
    return pack(
        into / f"site-{version}",
        contents,
        entry="",
        assets={"/assets": "site/assets"},
        static=StaticSite(folder="site", not_found="404.html"),
    )


def pack(root: Path, contents: dict[str, str], *, entry: str = "server.js", **fields: Any) -> Path:
    """Write files below `root`, and beside it an artifact file of them; returns its path."""
    for path, text in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    files = FileSet(
        root=str(root),
        entry=entry,
        files=tuple(
            TracedFile(path=path, source=str(root / path), size=len(text)) for path, text in sorted(contents.items())
        ),
        **fields,
    )
    artifact = package.package(files, built=1_700_000_000, artifacts=root.parent / "artifacts")
    target = root.with_name(root.name + ".tar.gz")
    package.export(root.parent / "artifacts", artifact.name, to=target)
    return target
