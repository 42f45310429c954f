"""The helper's package: small modules without circles, each verb in its place, and the archive that goes to hosts."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from deployd.hosts import helperfiles

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = helperfiles.entry().parent / helperfiles.PACKAGE
MODULES = {path.stem: ast.parse(path.read_text()) for path in sorted(PACKAGE.glob("*.py"))}


def imports(tree: ast.Module) -> set[str]:
    """The package's modules that this one imports when it runs: not those for annotations alone."""
    for node in list(ast.walk(tree)):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    found = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[2] for name in found if name.startswith("deployd_host.")}


def test_no_module_is_large_and_each_says_what_it_does() -> None:
    assert [path.name for path in PACKAGE.glob("*.py") if len(path.read_text().splitlines()) >= 400] == []
    assert [name for name, tree in MODULES.items() if not ast.get_docstring(tree)] == []


def test_imports_have_no_circles() -> None:
    graph = {name: imports(tree) for name, tree in MODULES.items()}
    left = dict(graph)
    while free := [name for name, needs in left.items() if not needs & set(left)]:
        for name in free:
            del left[name]

    assert left == {}


def test_only_the_standard_library_is_imported() -> None:
    found = {
        name.partition(".")[0]
        for tree in MODULES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [one.name for one in node.names])
    }

    assert found - {helperfiles.PACKAGE} <= sys.stdlib_module_names


def test_every_verb_has_its_function() -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(PACKAGE.parent)!r})\n"
        "from deployd_host.verbs import VERBS, function_of\n"
        "print(*(function_of(name).__name__ for name in VERBS))"
    )
    names = subprocess.run([sys.executable, "-ISBc", code], capture_output=True, text=True, check=True).stdout.split()
    written = {
        node.name
        for tree in MODULES.values()
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("verb_")
    }

    assert sorted(names) == sorted(written)


def test_the_archive_holds_all_of_it_below_its_version(tmp_path: Path) -> None:
    version = helperfiles.pack(tmp_path / "helper.tar")
    with tarfile.open(tmp_path / "helper.tar") as archive:
        members = archive.getmembers()

    assert re.fullmatch("[0-9a-f]{16}", version)
    assert {one.name for one in members if one.isfile()} == {f"{version}/{name}" for name in helperfiles.names()}
    assert {one.name for one in members if one.isdir()} == {version, f"{version}/{helperfiles.PACKAGE}"}
    assert {(one.uid, one.gid, one.mode & 0o022) for one in members} == {(0, 0, 0)}
    helperfiles.pack(tmp_path / "again.tar")
    assert (tmp_path / "helper.tar").read_bytes() == (tmp_path / "again.tar").read_bytes()


@pytest.mark.parametrize("change", ["content", "added", "removed"])
def test_another_content_is_another_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    before = helperfiles.version()
    for name in helperfiles.names():
        to = tmp_path / name
        to.parent.mkdir(exist_ok=True)
        to.write_bytes((PACKAGE.parent / name).read_bytes())
    monkeypatch.setattr(helperfiles, "entry", lambda: tmp_path / helperfiles.ENTRY)
    assert helperfiles.version() == before
    module = tmp_path / helperfiles.PACKAGE / ("flips.py" if change != "added" else "more.py")
    if change == "removed":
        module.unlink()
    else:
        module.write_text("# another\n")

    assert helperfiles.version() != before


def test_it_starts_from_its_own_folder_whatever_the_environment_and_the_cwd_say(tmp_path: Path) -> None:
    (tmp_path / "deployd_host").mkdir()
    (tmp_path / "deployd_host" / "__init__.py").write_text("print('a stranger')")
    (tmp_path / "link").symlink_to(helperfiles.entry())
    done = subprocess.run(
        [sys.executable, "-ISB", "link", "no-such-verb"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path), "PYTHONSTARTUP": str(tmp_path / "x"), "DEPLOYD_HOST_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 126, done.stderr
    assert '"code":"bad-request"' in done.stdout
