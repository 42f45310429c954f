"""What `[rollout] before` needs travels: its command's packages as installed, the app's files, and a start for it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from deployd.domain.ids import BuildId
from deployd.domain.stages import BuildOutput, BuildPlan, FileSet, TracedFile
from deployd.errors import PackageError
from deployd.stages.trace import beforehand, commandline

SCRIPTS = {
    "migrate": "prisma migrate deploy",
    "ready": "npm run migrate && node seed.js",
    "loop": "npm run loop",
}


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("prisma migrate deploy", "prisma migrate deploy"),
        ("npx prisma migrate deploy", "prisma migrate deploy"),
        ("npx --yes prisma migrate deploy && node x.js", "prisma migrate deploy && node x.js"),
        ("pnpm exec drizzle-kit migrate", "drizzle-kit migrate"),
        ("yarn prisma migrate deploy", "prisma migrate deploy"),
        ("yarn migrate", "( prisma migrate deploy )"),
        ("npm run migrate -- --schema db.prisma", "( prisma migrate deploy --schema db.prisma )"),
        ("bun run migrate", "( prisma migrate deploy )"),
        ("A=1 npm run migrate", "( export A=1; prisma migrate deploy )"),
        ("npm run ready; echo done", "( ( prisma migrate deploy ) && node seed.js ); echo done"),
        ("npm run gone", "npm run gone"),
        ("npm install", "npm install"),
        ("echo 'it is' \"npx x\"", "echo 'it is' \"npx x\""),
    ],
)
def test_a_command_line_is_had_without_package_managers(said: str, meant: str) -> None:
    assert commandline.plain(said, SCRIPTS) == meant


def test_scripts_that_call_themselves_end() -> None:
    assert commandline.plain("npm run loop", SCRIPTS).count("(") == 4


def test_words_of_what_no_shell_would_take_are_none() -> None:
    assert list(commandline.words("echo 'open")) == []
    assert list(commandline.words("a 'b c' && (d; e)|f > g")) == ["a", "b c", "d", "e", "f", "g"]


def put(path: Path, text: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def package(folder: Path, name: str, **facts: object) -> Path:
    put(folder / "package.json", json.dumps({"name": name, **facts}))
    return folder


def npm(root: Path, app: Path) -> None:
    """As npm lays packages out, in a workspace: the command at the top, one package below another."""
    modules = root / "node_modules"
    tool = package(modules / "prisma", "prisma", dependencies={"@prisma/engines": "1"}, peerDependencies={"none": "1"})
    put(
        tool / "build/index.js", "#!/usr/bin/env node\nconsole.log('migrated', ...process.argv.slice(2), process.cwd())"
    )
    put(package(tool / "node_modules/@prisma/engines", "@prisma/engines") / "engine.so")
    (tool / "build/index.js").chmod(0o755)
    put(package(modules / "unrelated", "unrelated") / "index.js")
    (modules / ".bin").mkdir()
    (modules / ".bin/prisma").symlink_to("../prisma/build/index.js")
    put(app / "prisma/schema.prisma")


def pnpm(root: Path, app: Path) -> None:
    """As pnpm does: links into a store, and the command a shell script in the app's own folder."""
    store = root / "node_modules/.pnpm"
    tool = package(store / "prisma@1/node_modules/prisma", "prisma", dependencies={"@prisma/engines": "1"})
    put(tool / "build/index.js", "console.log('migrated', ...process.argv.slice(2), process.cwd())")
    put(package(store / "engines@1/node_modules/@prisma/engines", "@prisma/engines") / "engine.so")
    (store / "prisma@1/node_modules/@prisma").mkdir()
    (store / "prisma@1/node_modules/@prisma/engines").symlink_to("../../../engines@1/node_modules/@prisma/engines")
    modules = app / "node_modules"
    modules.mkdir(parents=True)
    way = "../../node_modules" if root != app else ""
    (modules / "prisma").symlink_to(f"{way and '../' + way + '/'}.pnpm/prisma@1/node_modules/prisma")
    put(
        modules / ".bin/prisma",
        '#!/bin/sh\nbasedir=$(dirname "$(echo "$0" | sed -e \'s,\\\\,/,g\')")\nexec node  '
        '"$basedir/../prisma/build/index.js" "$@"\n',
    ).chmod(0o755)
    put(app / "prisma/schema.prisma")


def added(root: Path, app: Path, before: str, *, entry: str = "server.js") -> FileSet:
    plan = BuildPlan(
        framework="node", framework_version=None, manager="npm", manager_version=None, install=(), command=(),
        node="22.23.3", lockfile="", lockfile_sha256="", build_id=BuildId("b" + "0" * 20), before=before,
    )  # fmt: skip
    output = BuildOutput(root=str(root), app_dir=str(app), plan=plan, built=1, log="", seconds=0.0)
    server = TracedFile(path="apps/web/server.js", source=str(put(app / "server.js")), size=1, reasons=("an entry",))
    files = FileSet(root=str(root), entry=entry, files=(server,), warnings=("kept",))
    return beforehand.add(files, output, tools=root.parent / "tools")


@pytest.mark.parametrize("layout", [npm, pnpm])
def test_a_packages_command_travels_with_all_that_it_needs_and_runs(tmp_path: Path, layout: object) -> None:
    root, app = tmp_path / "repo", tmp_path / "repo/apps/web"
    layout(root, app)  # type: ignore[operator]
    put(app / "package.json", json.dumps({"scripts": {"migrate": "prisma migrate"}}))

    files = added(root, app, "npm run migrate -- deploy")

    names = {file.path for file in files.files}
    assert {
        "apps/web/server.js",
        "apps/web/prisma/schema.prisma",
        "apps/web/package.json",
        "deployd-before.sh",
    } <= names
    assert [name for name in names if name.endswith("engine.so")]
    assert not [name for name in names if "unrelated" in name]
    assert files.warnings == ("kept",)
    out = tmp_path / "out"
    for file in files.files:
        to = out / file.path
        to.parent.mkdir(parents=True, exist_ok=True)
        if file.symlink is None:
            to.write_bytes(Path(file.source).read_bytes())
            to.chmod(Path(file.source).stat().st_mode)
        else:
            to.symlink_to(file.symlink)
    done = subprocess.run(
        ["/bin/sh", "deployd-before.sh", "npm run migrate -- deploy"],
        cwd=out,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["migrated", "migrate", "deploy", str(out / "apps/web")]
    other = subprocess.run(
        ["/bin/sh", "deployd-before.sh", "prisma status && exit 3"],
        cwd=out,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (other.returncode, other.stdout.split()[:2]) == (3, ["migrated", "status"])


def test_folders_and_files_that_the_command_names_travel(tmp_path: Path) -> None:
    put(tmp_path / "app/sql/1.sql")
    put(tmp_path / "app/sql/.env")
    put(tmp_path / "app/run.sh")
    put(tmp_path / "secret.sh")
    files = added(tmp_path / "app", tmp_path / "app", "sh ./run.sh sql/ ../secret.sh -v")
    names = {file.path for file in files.files}
    assert {"run.sh", "sql/1.sql"} <= names
    assert not {"sql/.env", "secret.sh", "../secret.sh"} & names
    assert any("sql/.env" in warning for warning in files.warnings)


def test_a_site_has_nothing_that_could_run_it(tmp_path: Path) -> None:
    with pytest.raises(PackageError) as caught:
        added(tmp_path, tmp_path, "prisma migrate deploy", entry="")
    assert caught.value.code == "before-needs-server"


def test_without_it_nothing_is_added(tmp_path: Path) -> None:
    assert [file.path for file in added(tmp_path, tmp_path, "").files] == ["apps/web/server.js"]
