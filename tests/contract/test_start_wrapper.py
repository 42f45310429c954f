"""The wrapper's file, run by Node.js: what the start script loads first is loaded before the server."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from deployd.stages.build import wrapper

if TYPE_CHECKING:
    from pathlib import Path

_LOADER = """export async function load(url, context, next) {
  if (!url.endsWith(".words")) return next(url, context);
  return { format: "module", shortCircuit: true, source: `export default "made by the loader";` };
}
"""


def test_a_loader_of_the_start_script_is_there_before_the_servers_imports(tmp_path: Path) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "loader.mjs").write_text(_LOADER)
    (tmp_path / "api" / "a.words").write_text("")
    (tmp_path / "api" / "server.mjs").write_text('import said from "./a.words"; console.log(said, process.argv[2]);')
    made = wrapper.write(tmp_path, "api/server.mjs", words=["word"], preloads=["loader ./loader.mjs"], folder="api")
    node = shutil.which("node")
    assert node
    told = subprocess.run([node, made], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60)
    assert told.stdout == "made by the loader word\n"
