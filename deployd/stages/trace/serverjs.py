"""A build's configuration -> the text of the server.js that starts it, as Next.js writes one for a standalone tree."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

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
_FIRST_WITH_DRAIN = 14


def text(config: Mapping[str, Any], *, folder: str, major: int, is_module: bool) -> str:
    """The file's text. `folder` is the distDir, `is_module` whether the app's package.json says `"type": "module"`."""
    settled = json.dumps({**config, "distDir": f"./{folder}"}, ensure_ascii=True)
    old = major < _FIRST_WITH_DRAIN
    body = _BODY % (settled, "\n  useWorkers: true," if old else "")
    return (_MODULE if is_module else _COMMON_JS) + (_OLD_SIGNALS if old else "") + body
