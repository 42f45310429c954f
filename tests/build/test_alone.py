"""`deployd build` and `package` of one folder by several commands at once: none takes another's build away."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.workbench import put

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOYD = Path(sys.executable).parent / "deployd"
# waits until its own word is in the folder that the test writes into, which every build sees
BUILD = """
const fs = require("fs");
const word = fs.readFileSync("word", "utf8");
fs.writeFileSync("place", process.cwd());
(function wait() { if (fs.existsSync("go")) return; if (fs.existsSync("package.json")) setTimeout(wait, 50); else process.exit(3); })();
"""


class Folder:
    """An app whose build goes on when the test says so."""

    def __init__(self, tmp_path: Path) -> None:
        self.app, self.state = tmp_path / "app", tmp_path / "state"
        package = {"name": "shop", "version": "1.0.0", "scripts": {"build": "node build.js"}}
        lock = {"name": "shop", "version": "1.0.0", "lockfileVersion": 3, "packages": {"": {"name": "shop"}}}
        put(self.app, {
            "package.json": json.dumps(package), "package-lock.json": json.dumps(lock), "server.js": "//", "word": "one",
            "build.js": BUILD,
        })  # fmt: skip
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        argv = [str(DEPLOYD), "--state-dir", str(self.state), "-C", str(self.app), *words]
        self.started.append(
            subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        )
        return self.started[-1]

    def built(self, number: int) -> list[Path]:
        """The trees of the builds that run, once there are that many."""
        for _ in range(1200):
            found = sorted(path.parent for path in self.state.glob("checkouts/*/*/tree/place"))
            if len(found) >= number:
                return found
            assert all(one.poll() in (None, 0) for one in self.started), [one.communicate() for one in self.started]
            time.sleep(0.05)
        raise AssertionError(list(self.state.glob("checkouts/*/*")))


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    yield made
    for one in made.started:
        one.kill()
        one.communicate()


def test_two_builds_of_one_folder_at_once_both_end_well(folder: Folder) -> None:
    first = folder.start("build", "--json")
    (tree,) = folder.built(1)
    (folder.app / "word").write_text("two")
    second = folder.start("build", "--json")
    trees = folder.built(2)
    (tree / "go").touch()  # the first one ends, and puts away what it has no use for
    out, err = first.communicate(timeout=180)
    assert first.returncode == 0, err
    (other,) = {*trees} - {tree}
    assert (other / "package.json").is_file()
    (other / "go").touch()
    out, err = second.communicate(timeout=180)
    assert second.returncode == 0, err
    assert json.loads(out.splitlines()[-1])["path"] == str(other)


def test_a_clean_build_again_is_made_at_the_same_place(folder: Folder) -> None:
    """What Next.js builds names its own place: another place would be another artifact."""
    put(folder.app, {"build.js": 'require("fs").writeFileSync("server.js", "// " + process.cwd())'})
    made = []
    for _ in range(2):
        one = folder.start("package", "--json", "--no-cache")
        out, err = one.communicate(timeout=180)
        assert one.returncode == 0, err
        made.append(json.loads(out.splitlines()[-1])["artifact"])
    assert made[0] == made[1]
