"""Packages that a text names travel whole, with what they need, where the package that loads them is traced."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from deployd.stages.trace import byname, tree
from deployd.stages.trace.found import Found

if TYPE_CHECKING:
    from pathlib import Path


def package(root: Path, name: str, **more: Any) -> None:
    folder = root / "node_modules" / name
    folder.mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": name, **more}))
    (folder / "index.js").write_text("")


def found_with(root: Path, *paths: str) -> Found:
    found = Found()
    for path in paths:
        found.add(tree.Root(root).take(path, reasons=("traced",)))
    return found


def added(root: Path, found: Found) -> set[str]:
    before = set(found.files)
    byname.add(found, app_dir=root, root=root)
    return {path.removeprefix("node_modules/") for path in set(found.files) - before}


def test_transports_of_pino_are_taken_with_what_they_need(tmp_path: Path) -> None:
    package(tmp_path, "pino")
    package(tmp_path, "pino-pretty", dependencies={"colorette": "2"})
    package(tmp_path, "@logs/to", dependencies={"gone": "1"})
    package(tmp_path, "colorette")
    package(tmp_path, "other")
    (tmp_path / "log.ts").write_text(
        'pino({ transport: { targets: [{ target: "pino-pretty" }, {"target":"@logs/to/file"}, { target: "./own.js" }] } })'
        '; const builds = { aim: "other", target: "es2022" }'
    )
    whole = {
        f"{name}/{file}" for name in ("pino-pretty", "@logs/to", "colorette") for file in ("package.json", "index.js")
    }
    assert added(tmp_path, found_with(tmp_path, "log.ts", "node_modules/pino/package.json")) == whole
    assert added(tmp_path, found_with(tmp_path, "log.ts")) == set()


def test_sequelize_gets_the_drivers_that_the_app_needs(tmp_path: Path) -> None:
    for name in ("sequelize", "pg", "mysql2"):
        package(tmp_path, name)
    (tmp_path / "package.json").write_text('{"dependencies": {"sequelize": "6", "pg": "8", "sqlite3": "5"}}')
    found = found_with(tmp_path, "node_modules/sequelize/package.json")
    assert added(tmp_path, found) == {"pg/package.json", "pg/index.js"}
    assert found.files["node_modules/pg/index.js"].reasons == ("loaded by sequelize, by its name",)
    assert added(tmp_path, found) == set()


def test_express_gets_the_makers_of_pages_that_the_app_needs(tmp_path: Path) -> None:
    for name in ("express", "pug", "ejs"):
        package(tmp_path, name)
    (tmp_path / "package.json").write_text('{"dependencies": {"express": "5", "pug": "3"}}')
    assert added(tmp_path, found_with(tmp_path, "node_modules/express/package.json")) == {
        "pug/package.json",
        "pug/index.js",
    }


def test_ts_node_gets_its_compiler_though_it_is_one_for_development(tmp_path: Path) -> None:
    for name in ("ts-node", "typescript"):
        package(tmp_path, name)
    (tmp_path / "package.json").write_text('{"devDependencies": {"ts-node": "10", "typescript": "5"}}')
    found = found_with(tmp_path, "node_modules/ts-node/package.json")
    assert added(tmp_path, found) == {"typescript/package.json", "typescript/index.js"}


def test_pages_that_a_package_keeps_for_others_travel_where_its_code_does(tmp_path: Path) -> None:
    for place in ("swagger-ui-dist", ".pnpm/ui@1/node_modules/@bull-board/ui"):
        package(tmp_path, place)
        (tmp_path / "node_modules" / place / "page.html").write_text("")
    found = found_with(
        tmp_path,
        "node_modules/swagger-ui-dist/index.js",
        "node_modules/.pnpm/ui@1/node_modules/@bull-board/ui/package.json",
    )
    assert {path for path in added(tmp_path, found) if path.endswith(".html")} == {
        "swagger-ui-dist/page.html", ".pnpm/ui@1/node_modules/@bull-board/ui/page.html",
    }  # fmt: skip
