"""The stages alone: what they print, that a build is used again, and that the app's folder stays as it is."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from deployd.cli import traced
from deployd.domain.stages import BuildOutput, BuildPlan, FileSet, TracedFile
from deployd.errors import BuildError, NotAllowedError
from deployd.stages import build as build_stage
from deployd.stages import trace as trace_stage
from deployd.stages.build import runtime


@pytest.fixture
def stages(monkeypatch, app, tmp_path):
    """The real source and package stages around a build that takes no time."""
    seen = SimpleNamespace(builds=[], variables={}, kept=0, fail=None)
    (app / "server.js").write_text("1\n")

    def plan_for(source, _options, *, variables, **_others):
        seen.variables = {name: secret.reveal() for name, secret in variables.items()}
        return BuildPlan(
            framework="nextjs",
            framework_version="16",
            manager="npm",
            manager_version=None,
            install=("npm", "ci"),
            command=("npm", "run", "build"),
            node="22.22.3",
            lockfile=f"{source.app_dir}/package-lock.json",
            lockfile_sha256="0" * 64,
            build_id="b" + source.tree_hash[:20],
        )

    def build(source, made, *, log, **_others):
        if seen.fail:
            raise seen.fail
        seen.builds.append(source.app_dir)
        return BuildOutput(
            root=source.root, app_dir=source.app_dir, plan=made, built=1_700_000_000, log=str(log), seconds=1.0
        )

    def trace(output, **_others):
        server = TracedFile(path="server.js", source=f"{output.app_dir}/server.js", size=2, reasons=("standalone",))
        deep = TracedFile(path="a/b/x.js", source=server.source, size=2048, reasons=("traced",))
        link = TracedFile(path="a/link", source=server.source, size=0, symlink="b/x.js")
        return FileSet(root=output.root, entry="server.js", files=(deep, link, server), warnings=("left out: .env",))

    def keep_install(_output, **_others):
        seen.kept += 1

    monkeypatch.setattr(build_stage, "plan_for", plan_for)
    monkeypatch.setattr(build_stage, "build", build)
    monkeypatch.setattr(build_stage, "keep_install", keep_install)
    monkeypatch.setattr(trace_stage, "trace", trace)
    monkeypatch.setattr(runtime, "fetch", lambda *_arguments, **_others: SimpleNamespace(path="/node"))
    monkeypatch.setenv("DEPLOYD_STATE_DIR", str(tmp_path / "state"))
    return seen


def last(done):
    return json.loads(done.out.splitlines()[-1])


def test_build_uses_a_build_of_the_same_tree_again(deployd, app, stages):
    first, second = last(deployd("build", "--json")), last(deployd("build", "--json"))

    assert first == second
    assert len(stages.builds) == 1
    assert Path(first["path"]).is_dir()
    (app / "server.js").write_text("2\n")
    third = last(deployd("build", "--json"))
    assert third["build_id"] != first["build_id"]
    assert not Path(first["path"]).exists()
    assert stages.kept == 1
    assert deployd("build", "--no-cache").exit == 0
    assert len(stages.builds) == 3


def test_the_folder_stays_as_it_is_and_a_failed_build_leaves_nothing(deployd, app, stages, tmp_path):
    before = sorted(path.name for path in app.iterdir())
    stages.fail = BuildError("the build failed", fix="read the lines above", details="Type error: x")
    done = deployd("build")

    assert done.exit == 1
    assert "Type error: x" in done.err
    assert sorted(path.name for path in app.iterdir()) == before
    (checkout,) = (tmp_path / "state" / "checkouts").iterdir()
    assert [path for path in checkout.glob("**/*") if path.parent != checkout] == []


def test_trace_json_is_one_document_in_the_promised_shape(deployd, stages):
    done = deployd("trace", "--json")
    found = json.loads(done.out)

    assert set(found) == {"root", "files", "warnings"}
    assert [file["path"] for file in found["files"]] == ["a/b/x.js", "a/link", "server.js"]
    assert found["files"][1] == {"path": "a/link", "size": 0, "symlink": "b/x.js", "reasons": []}
    assert done.err == ""


def test_trace_for_people(deployd, stages):
    done = deployd("trace")
    assert done.out.splitlines() == [
        "   2.0 kB  a/b/x.js",
        "      0 B  a/link -> b/x.js",
        "      2 B  server.js",
        "✓ 3 files, 2.0 kB",
    ]
    assert "left out: .env" in done.err
    assert deployd("trace", "--tree").out.splitlines()[:2] == ["   2.0 kB  a/  2", "   2.0 kB    b/  1"]
    assert deployd("trace", "--why", "server.js").out.splitlines() == ["server.js", "  standalone"]
    assert deployd("trace", "--why", "gone.js").exit == 2


def test_package_ends_with_what_it_made(deployd, app, stages, tmp_path):
    to = tmp_path / "out" / "shop.tar.gz"
    done = deployd("package", "-o", str(to), "--json")

    made = last(done)
    assert set(made) == {"artifact", "files", "bytes", "path"}
    assert (made["files"], made["path"]) == (4, str(to))
    assert to.is_file()
    assert last(deployd("package", "--json"))["artifact"] == made["artifact"]
    assert f"deployd release --artifact {to}" in deployd("package", "-o", str(to)).err


def test_build_variables_reach_the_build_only(deployd, app, client, stages):
    deployd("env", "set", "NEXT_PUBLIC_URL=https://x", "SECRET=y", "--plain")
    assert deployd("build").exit == 0
    assert stages.variables == {"NEXT_PUBLIC_URL": "https://x"}


def test_no_deployd_toml_and_no_git_are_needed(deployd, app, stages, tmp_path):
    from deployd import process

    (app / "deployd.toml").unlink()
    process.run(["rm", "-r", str(app / ".git")])
    assert last(deployd("build", "--json"))["app"] == "shop"
    assert deployd("build", "-C", str(tmp_path / "gone")).exit == 2


def test_a_build_where_a_daemon_elsewhere_keeps_the_variables(deployd, app, client, stages, monkeypatch):
    """On a laptop: it goes on without them, and says so."""
    client.kept["shop", "production", "NEXT_PUBLIC_A"] = ("a", True)

    def refuse(*_):
        raise NotAllowedError("the variables' values is for the unix socket only", code="not-local", fix="go there")

    monkeypatch.setattr(client, "reveal_variables", refuse)
    done = deployd("build")
    assert done.exit == 0
    assert "goes on without them" in done.err


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("public/a b'\"$x", "public/a b'\"$x"),
        ("new\nline", "new\\nline"),
        ("\x1b[31mred\t", "\\x1b[31mred\\t"),
        ("\udcff\udc80.txt", "\\xff\\x80.txt"),
        ("ü-😀", "ü-😀"),
    ],
)
def test_a_path_is_shown_on_one_line_and_draws_nothing(path: str, text: str) -> None:
    assert traced.shown(path) == text
