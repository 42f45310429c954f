"""Code that an app brings is loaded by tracing in the sandbox alone: it reaches no file of this machine, and no network."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from deployd import sandbox
from deployd.errors import CommandError
from deployd.stages.trace import programs
from deployd.stages.trace.globs import Questions

if TYPE_CHECKING:
    from pathlib import Path

CANARY = "canary-3f9a"
HOSTILE = """
const fs = require("node:fs");
const told = [%(canary)r, "/root", "/proc/1/environ"].map((path) => {
  try { return String(fs.statSync(path).isDirectory() ? fs.readdirSync(path) : fs.readFileSync(path)); } catch (error) { return error.code; }
});
try { fs.writeFileSync(%(root)r + "/node_modules/left", "x"); told.push("written"); } catch (error) { told.push(error.code); }
module.exports = () => { throw new Error("told: " + told.join(" | ") + " as " + process.getuid()); };
module.exports.scan = module.exports;
"""


def app(tmp_path: Path) -> tuple[Path, Path]:
    """A tree that was built, whose Next.js brings a picomatch of its own; and that module."""
    canary = tmp_path / "state" / "key"
    canary.parent.mkdir()
    canary.write_text(CANARY)
    root = tmp_path / "checkout"
    module = root / "node_modules/next/dist/compiled/picomatch"
    module.mkdir(parents=True)
    (module / "index.js").write_text(HOSTILE % {"canary": str(canary), "root": str(root)})
    return root, module


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_what_an_app_brings_is_loaded_in_the_sandbox(tmp_path: Path) -> None:
    root, module = app(tmp_path)
    sandbox.give(root)
    asked = Questions()
    asked.walk("**", folder=root)

    with pytest.raises(CommandError) as caught:
        asked.answer(picomatch=module, root=root)

    told = f"{caught.value.what} {caught.value.details}"
    assert CANARY not in told
    assert "told: ENOENT | ENOENT | E" in told
    assert "EROFS" in told
    who = sandbox.account()
    assert who is not None
    assert f"as {who.uid}" in told
    assert not (root / "node_modules/left").exists()


def test_an_answer_that_is_a_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (tmp_path / "secret.json").write_text('{"secret": true}')
    (scripts / "globs.mjs").write_text(
        f"import fs from 'node:fs'; fs.symlinkSync({str(tmp_path / 'secret.json')!r}, process.argv[3]);"
    )
    monkeypatch.setattr(programs, "_HERE", tmp_path)

    with pytest.raises(OSError, match="symbolic link"):
        programs.run("globs", {}, root=tmp_path)
