"""What an app's own sources name from its folder: files, folders, and what stands before the star of a glob."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from deployd.stages.build import ownsources

if TYPE_CHECKING:
    from pathlib import Path


def app(root: Path, *places: str, **sources: str) -> Path:
    for place in places:
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text("")
    for name, text in sources.items():
        (root / name.replace("_", ".")).write_text(text)
    return root


@pytest.mark.parametrize(
    "text",
    [
        'load(path.join(process.cwd(), "api/schema", "**/*.graphql"))',
        "load(join(process.cwd(), 'api', 'schema', 'a.graphql').dir)",
        "glob(`${process.cwd()}/api/schema/*.graphql`)",
        'glob("./api/schema/**/*.graphql")',
        "glob('api/schema/{a,b}.graphql')",
    ],
)
def test_a_folder_or_file_below_the_working_folder(tmp_path: Path, text: str) -> None:
    (named,) = ownsources.named(app(tmp_path, "api/schema/a.graphql", server_js=text))
    assert named in {"api/schema", "api/schema/a.graphql"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("jest_config_js", 'testMatch: ["api/schema/**/*.js"]'),
        ("server_js", 'glob("tests/**/*.js")'),
        ("server_js", "join(process.cwd(), '..', 'x')"),
        ("server_js", "join(process.cwd(), '*.json')"),
        ("server_js", 'join(process.cwd(), "node_modules", "x")'),
        ("server_js", "join(process.cwd(), 'gone/*.js')"),
    ],
)
def test_what_is_no_part_of_the_server_is_not_taken(tmp_path: Path, name: str, text: str) -> None:
    root = app(tmp_path / "app", "api/schema/a.js", "tests/a.js", "node_modules/x/a.js", "../x", **{name: text})
    assert ownsources.named(root) == ()
