"""A Next.js build -> the file that starts it: a server.js like Next.js's own, or a start of the app's own server.

Both hand the build's settled configuration to Next.js, which then loads no next.config, no webpack and no compiler.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from deployd.domain.stages import TracedFile
from deployd.stages.trace import manifests

if TYPE_CHECKING:
    from deployd.stages.trace.nextapp import NextApp

_COMMON_JS = """const here = __dirname;
"""
_MODULE = """import { createRequire } from "node:module";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
const require = createRequire(import.meta.url);
const here = dirname(fileURLToPath(import.meta.url));
"""
_BODY = """
process.env.NODE_ENV = "production";
process.chdir(here);
const config = %s;
process.env.__NEXT_PRIVATE_STANDALONE_CONFIG = JSON.stringify(config);

require("next");
const { startServer } = require("next/dist/server/lib/start-server");

const idle = Number.parseInt(process.env.KEEP_ALIVE_TIMEOUT ?? "", 10);
startServer({
  dir: here,
  isDev: false,
  config,
  hostname: process.env.HOSTNAME || "0.0.0.0",
  port: Number.parseInt(process.env.PORT ?? "", 10) || 3000,
  allowRetry: false,
  keepAliveTimeout: Number.isFinite(idle) && idle >= 0 ? idle : undefined,%s
}).catch((error) => {
  console.error(error);
  process.exit(1);
});
"""
_OLD_SIGNALS = """
if (!process.env.NEXT_MANUAL_SIG_HANDLE) {
  process.on("SIGTERM", () => process.exit(0));
  process.on("SIGINT", () => process.exit(0));
}
"""
_OWN = """const path = require("node:path");

process.env.NODE_ENV ??= "production";
process.chdir(__dirname);
process.env.__NEXT_PRIVATE_STANDALONE_CONFIG = JSON.stringify(%s);
process.argv[1] = path.join(__dirname, %s);
require("node:module").runMain(); // as `node FILE` would: require.main is the app's server
"""
_FIRST_WITH_DRAIN = 14
_SAID = re.compile(r',\s*"output":\s*"standalone"|"output":\s*"standalone",')  # in a text, the quotes have backslashes
OWN = "deployd-server.cjs"


def make(app: NextApp, *, tools: Path) -> TracedFile:
    """The server.js of an app without a server of its own."""
    is_module = manifests.read(app.app_dir / "package.json").get("type") == "module"
    old = app.major < _FIRST_WITH_DRAIN
    body = _BODY % (_settled(app), "\n  useWorkers: true," if old else "")
    text = (_MODULE if is_module else _COMMON_JS) + (_OLD_SIGNALS if old else "") + body
    return kept(text, at=app.at("server.js"), tools=tools)


def make_own(app: NextApp, entry: str, *, tools: Path) -> TracedFile:
    """The file that starts the app's own server, `entry` in the app's folder."""
    return kept(_OWN % (_settled(app, own=True), json.dumps(entry)), at=app.at(OWN), tools=tools)


def not_standalone(file: TracedFile, *, tools: Path) -> TracedFile:
    """A server.js that does not say of itself that it is a standalone one; the same where it does not say so."""
    text = Path(file.source).read_text(encoding="utf-8")
    said = _SAID.sub("", text)
    return file if said == text else replace(kept(said, at=file.path, tools=tools), reasons=file.reasons)


def _settled(app: NextApp, *, own: bool = False) -> str:
    config = {**app.config, "distDir": f"./{app.folder}"}
    if own and config.get("output") == "standalone":
        del config["output"]  # Next.js warns of a server of the app's own otherwise
    return json.dumps(config, ensure_ascii=True)


def kept(text: str, *, at: str, tools: Path) -> TracedFile:
    """Kept by its content below `tools`: the app's own folder is never written to."""
    data = text.encode()
    path = tools / "made" / f"{hashlib.sha256(data).hexdigest()[:32]}.js"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        aside.write_bytes(data)
        aside.rename(path)
    return TracedFile(path=at, source=str(path), size=len(data), reasons=("made by deployd",))
