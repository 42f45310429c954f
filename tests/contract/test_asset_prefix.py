"""The file that gives a CDN's address to Next.js, run by a real Node.js on modules shaped like Next.js's own.

What 13.5 to 16 do with it is in tests/matrix/test_asset_prefix.py.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from deployd.domain.ids import BuildId
from deployd.domain.stages import BuildPlan
from deployd.stages import build
from deployd.stages.build import nextoutput, told

HOOK = Path(build.__file__).with_name("nextassets.cjs")
URL = "https://cdn.shop.example/shop"
SHARED = """
Object.defineProperty(exports, "__esModule", { value: true });
const own = { defaultConfig: Object.freeze({ assetPrefix: "", poweredByHeader: true DEFAULT }),
  normalizeConfig: async (phase, config) => typeof config === "function" ? config(phase, {}) : config };
for (const name of Object.keys(own)) Object.defineProperty(exports, name, { enumerable: true, get: () => own[name] });
"""
ASK = """
const shared = require("./server/config-shared");
(async () => {
  const user = await shared.normalizeConfig("build", USER);
  const merged = { ...shared.defaultConfig, ...user };
  console.log(JSON.stringify({ prefix: merged.assetPrefix, name: await merged.generateBuildId?.(), header: merged.poweredByHeader }));
})();
"""


def plan(url: str) -> BuildPlan:
    return BuildPlan(
        framework="nextjs", framework_version="16", manager="npm", manager_version=None, install=(), command=(),
        node="22.23.3", lockfile="", lockfile_sha256="", build_id=BuildId("bad" + "0" * 18), asset_prefix=url,
    )  # fmt: skip


def settled(folder: Path, *, user: str, default: str = "", url: str = URL) -> dict[str, Any]:
    (folder / "server").mkdir(exist_ok=True)
    (folder / "server" / "config-shared.js").write_text(SHARED.replace("DEFAULT", default))
    (folder / "ask.js").write_text(ASK.replace("USER", user))
    env = {"PATH": os.environ["PATH"], "NEXT_DEPLOYMENT_ID": "bad0ad"}
    env |= told.hook(plan(url), str(HOOK), variables={"NODE_OPTIONS": "--max-old-space-size=900"})
    done = subprocess.run(["node", "ask.js"], cwd=folder, env=env, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("user", ["{}", "{ assetPrefix: '' }", "() => ({ assetPrefix: undefined })", "undefined"])
def test_the_address_is_taken_where_the_app_has_none(tmp_path: Path, user: str) -> None:
    assert settled(tmp_path, user=user) == {"prefix": URL, "name": "ba-d0a-d", "header": True}


def test_an_address_and_a_name_of_the_apps_own_win(tmp_path: Path) -> None:
    own = settled(tmp_path, user="{ assetPrefix: 'https://own.example', generateBuildId: () => 'mine' }")
    assert (own["prefix"], own["name"]) == ("https://own.example", "mine")
    # up to 15 there is a default, which makes a new name for each build
    assert settled(tmp_path, user="{}", default=", generateBuildId: () => null")["name"] is None


def test_without_an_address_nothing_is_changed(tmp_path: Path) -> None:
    assert settled(tmp_path, user="{}", url="")["prefix"] == ""
    assert told.hook(plan(""), str(HOOK), variables={}) == {}


def test_a_folder_with_a_space_is_one_word(tmp_path: Path) -> None:
    place = tmp_path / "a folder"
    place.mkdir()
    (place / "hook.cjs").write_text("globalThis.seen = 1")
    env = {"PATH": os.environ["PATH"], **told.hook(plan(URL), str(place / "hook.cjs"), variables={})}
    done = subprocess.run(["node", "-p", "seen"], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


def test_a_build_that_did_not_take_it_is_told(tmp_path: Path) -> None:
    dist = tmp_path / ".next"
    dist.mkdir()
    (dist / "BUILD_ID").write_text("b")
    (tmp_path / "package.json").write_text("{}")
    for prefix, said in ((URL, ""), ("", "of the hosts"), ("https://own.example", "at https://own.example")):
        facts = {"config": {"assetPrefix": prefix}, "appDir": str(tmp_path)}
        (dist / "required-server-files.json").write_text(json.dumps(facts))
        left = nextoutput.find(plan(URL), app_dir=tmp_path, root=tmp_path, log=tmp_path / "log")
        assert (said in "".join(left.warnings), len(left.warnings)) == (True, 1 if said else 0)
