"""A start script that starts another folder's: what runs is that folder's own command, in that folder."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from deployd.stages.build import delegated, firsts, framework, starting, startscript

if TYPE_CHECKING:
    from pathlib import Path

INNER = {"name": "@acme/api", "scripts": {"start": "npm run serve", "serve": "A=1 node dist/main.js -p 1"}}


def app(root: Path, start: str, *, inner: dict[str, Any] | None = None, workspaces: bool = True) -> Path:
    (root / "apps/api").mkdir(parents=True)
    top: dict[str, Any] = {"scripts": {"start": start, "build": "npm run build -w x"}}
    (root / "package.json").write_text(json.dumps(top | ({"workspaces": ["apps/*"]} if workspaces else {})))
    (root / "apps/api/package.json").write_text(json.dumps(inner or INNER))
    return root


@pytest.mark.parametrize(
    "start",
    [
        "npm start --workspace=apps/api",
        "npm start -w @acme/api",
        "npm --prefix ./apps/api run start",
        "npm run start --prefix=apps/api --silent",
        "yarn workspace @acme/api start",
        "yarn --cwd apps/api run serve",
        "pnpm --filter @acme/api... start",
        "pnpm -C apps/api start",
        "bun run --filter @acme/api start",
        "npx turbo run start --filter=@acme/api",
        "cd apps/api && npm start",
        "npm run go",
    ],
)
def test_what_runs_is_the_other_folders(tmp_path: Path, start: str) -> None:
    root = app(tmp_path, start)
    if start == "npm run go":
        (root / "package.json").write_text('{"scripts": {"start": "npm run go", "go": "cd apps/api && npm start"}}')
    found = startscript.find(delegated.read(root))
    assert found is not None
    assert startscript.file_of(found, root) == "apps/api/dist/main.js"
    assert (found.folder, found.words, dict(found.variables)) == ("apps/api", ("-p", "1"), {"A": "1"})
    assert framework.detect(root).framework == "node"


@pytest.mark.parametrize(
    ("start", "inner"),
    [
        ("npm start -w gone", INNER),
        ("npm start -w ../x", INNER),
        ("npm run gone -w apps/api", INNER),
        ("npm start", INNER),
        ("npm start -w apps/api", {"name": "web", "dependencies": {"next": "16"}, "scripts": {"start": "next start"}}),
    ],
)
def test_what_starts_no_server_there_stays_as_it_is(tmp_path: Path, start: str, inner: dict[str, Any]) -> None:
    assert startscript.find(delegated.read(app(tmp_path, start, inner=inner))) is None


def test_what_the_other_folder_runs_first_is_run_there(tmp_path: Path) -> None:
    scripts = {"start": "prisma migrate deploy && node main.js"}
    root = app(tmp_path, "NODE_ENV=production npm start -w apps/api", inner={"name": "api", "scripts": scripts})
    package = delegated.read(root)
    assert firsts.to_run(package) == "sh -c 'cd apps/api && prisma migrate deploy'"
    found = startscript.find(package)
    assert found is not None
    assert dict(found.variables) == {"NODE_ENV": "production"}


def test_what_lies_beside_a_server_in_a_folder_of_its_own_travels(tmp_path: Path) -> None:
    root = app(tmp_path, "npm start -w apps/api")
    for place in (
        "apps/api/views/a.ejs",
        "apps/api/src/emails/b.html",
        "apps/api/data/c.json",
        "apps/api/dist/main.js",
    ):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text("")
    (root / "apps/api/x.js").write_text('readFile("data/c.json")')
    (root / "apps/api/dist/package.json").write_text("{}")
    there = starting.read_by_name(root, "apps/api/dist/main.js")
    assert there == (
        "apps/api/views", "apps/api/src/emails", "package.json", "apps/api/package.json", "apps/api/data/c.json",
    )  # fmt: skip
