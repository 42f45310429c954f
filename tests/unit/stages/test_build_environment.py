"""The clean environment, the redactor, the limits, the kept install, and the lines that matter."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from deployd import process
from deployd.domain.ids import BuildId
from deployd.domain.stages import BuildPlan
from deployd.stages.build import installs, limits
from deployd.stages.build.environment import Redactor, build_environment, make_home, registry_environment
from deployd.stages.build.failing import telling
from deployd.stages.build.ground import Ground

if TYPE_CHECKING:
    import pytest

SECRETS = st.text(min_size=9, max_size=40).filter(
    lambda text: text.strip() == text and len(text.split()) == 1 and text.lower() not in ("production", "development")
)


# Environment


def test_only_what_reaches_a_registry_passes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("npm_config_registry", "NPM_CONFIG_CAFILE", "npm_config_//registry.example.com/:_authToken",
                 "HTTPS_PROXY", "no_proxy", "NODE_EXTRA_CA_CERTS", "YARN_NPM_REGISTRY_SERVER"):  # fmt: skip
        monkeypatch.setenv(name, "passes")
    for name in ("npm_config_omit", "npm_config_production", "AWS_SECRET_ACCESS_KEY", "NODE_OPTIONS", "GIT_DIR"):
        monkeypatch.setenv(name, "stays")
    found = registry_environment()
    assert "stays" not in found.values()
    assert list(found.values()).count("passes") == 7


def test_variables_win_but_not_over_the_path_and_home(tmp_path: Path) -> None:
    ground = Ground(home="/home/build", path="/node:/tools", registry={"npm_config_registry": "r"}, box=None)
    env = build_environment(
        ground, manager="npm", root=str(tmp_path),
        variables={"CI": "", "PATH": "/mine", "HOME": "/mine", "OTHER": "x"},
    )  # fmt: skip
    assert env["PATH"] == "/node:/tools"
    assert (env["HOME"], env["CI"], env["OTHER"]) == ("/home/build", "", "x")
    assert (env["npm_config_registry"], env["TURBO_CACHE_DIR"]) == ("r", f"{tmp_path}/.turbo/cache")
    assert "npm_config_store_dir" not in env
    pnpm = build_environment(ground, manager="pnpm", root=str(tmp_path), variables={})
    assert pnpm["npm_config_store_dir"] == "/home/build/.local/share/pnpm/store"


def test_the_builds_home_links_to_the_operators_registry_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = tmp_path / "operator"
    operator.mkdir()
    (operator / ".npmrc").write_text("registry=x\n")
    monkeypatch.setenv("HOME", str(operator))
    for _ in range(2):
        make_home(tmp_path / "home")
    assert (tmp_path / "home" / ".npmrc").readlink() == operator / ".npmrc"
    assert not (tmp_path / "home" / ".yarnrc").exists()


# Redactor


@given(SECRETS, st.text(max_size=10), st.text(max_size=10))
def test_a_secret_is_seen_in_no_form(secret: str, before: str, after: str) -> None:
    redact = Redactor({"TOKEN": secret})
    for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1], base64.b64encode(secret.encode()).decode()):
        assert form not in redact(f"{before} {form} {after}").replace("***", "")


@given(st.binary(min_size=0, max_size=9), st.text("abcdefgh0123456789", min_size=8, max_size=40))
def test_base64_of_a_text_that_holds_the_secret_is_hidden(before: bytes, secret: str) -> None:
    encoded = base64.b64encode(before + secret.encode() + b":tail").decode()
    assert "***" in Redactor({"TOKEN": secret})(encoded)


def test_what_everyone_may_see_is_left_readable() -> None:
    redact = Redactor({"NEXT_PUBLIC_NAME": "My lovely shop", "MODE": "production", "PIN": "123", "KEY": "hush-hush"})
    line = "My lovely shop in production, pin 123"
    assert redact(line) == line
    assert redact("key hush-hush!") == "key ***!"


def test_each_line_of_a_secret_of_many_lines_is_hidden() -> None:
    redact = Redactor({"KEY": "-----BEGIN KEY-----\nMIIBVwIBADANBgkq\n  c29tZXRoaW5n\n-----END KEY-----\n"})
    assert redact("MIIBVwIBADANBgkq") == "***"
    assert redact("at c29tZXRoaW5n;") == "at ***;"


# Limits


def test_limits_where_systemd_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(limits, "_SYSTEMD", tmp_path)
    monkeypatch.setattr(limits.os, "geteuid", lambda: 0)
    monkeypatch.setattr(limits.shutil, "which", lambda name: f"/usr/bin/{name}")
    argv, warning = limits.limited(["npm", "ci"], memory=2**30, cpus=1.5)
    assert warning is None
    assert argv[:4] == ("systemd-run", "--scope", "--quiet", "--collect")
    assert argv[-9:] == ("choom", "-n", "500", "--", "nice", "-n", "10", "npm", "ci")
    assert {"MemoryMax=1073741824", "CPUQuota=150%", "TasksMax=4096"} <= set(argv)


def test_limits_that_cannot_be_held_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(limits, "_SYSTEMD", tmp_path / "none")
    monkeypatch.setattr(limits.shutil, "which", lambda name: f"/usr/bin/{name}")
    polite = ("choom", "-n", "500", "--", "nice", "-n", "10", "npm")
    assert limits.limited(["npm"], memory=None, cpus=None) == (polite, None)
    argv, warning = limits.limited(["npm"], memory=2**30, cpus=1)
    assert argv[:2] == ("taskset", "--cpu-list")
    assert argv[3:] == ("prlimit", "--data=1073741824", "--", *polite)
    assert "build.memory is held for each process" in str(warning)
    monkeypatch.setattr(limits.shutil, "which", lambda name: None)
    argv, warning = limits.limited(["npm"], memory=2**30, cpus=1)
    assert argv == ("nice", "-n", "10", "npm")
    assert "build.memory is not held, and build.cpus is not held" in str(warning)


def test_a_process_that_takes_more_than_it_may_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(limits, "_SYSTEMD", tmp_path / "none")
    take = "print(len(bytearray(300_000_000)))"
    for memory, ends in ((100_000_000, 1), (600_000_000, 0)):
        argv, _ = limits.limited(["python3", "-c", take], memory=memory, cpus=None)
        assert process.run(argv, check=False).returncode == ends


# The kept install


def plan(folder: Path, **changes: object) -> BuildPlan:
    fields = {
        "framework": "nextjs", "framework_version": "16", "manager": "npm", "manager_version": None,
        "install": ("npm", "ci"), "command": ("npm", "run", "build"), "node": "22.23.3",
        "lockfile": str(folder / "package-lock.json"), "lockfile_sha256": "0" * 64,
        "build_id": BuildId("b" + "0" * 20),
    }  # fmt: skip
    return BuildPlan(**(fields | changes))  # type: ignore[arg-type]


def checkout(folder: Path) -> Path:
    for name in ("package.json", "apps/web/package.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    return folder


def test_an_install_moves_from_one_checkout_to_the_next(tmp_path: Path) -> None:
    first, second, kept = checkout(tmp_path / "first"), checkout(tmp_path / "second"), tmp_path / "kept" / "key"
    for name in ("node_modules/next/x.js", "apps/web/node_modules/.bin/next"):
        (first / name).parent.mkdir(parents=True)
        (first / name).write_text(name)
    (first / "node_modules" / "link").symlink_to("next")
    assert not installs.restore(kept, folder=second)
    installs.keep(kept, folder=first)
    assert not (first / "node_modules").exists()
    assert installs.restore(kept, folder=second)
    assert (second / "node_modules/next/x.js").read_text() == "node_modules/next/x.js"
    assert (second / "apps/web/node_modules/.bin/next").is_file()
    assert (second / "node_modules" / "link").readlink() == Path("next")
    assert not installs.restore(kept, folder=first)  # it is in use


def test_a_newer_install_replaces_the_kept_one_and_few_are_kept(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    for number in range(6):
        folder = checkout(tmp_path / f"c{number}")
        (folder / "node_modules").mkdir()
        (folder / "node_modules" / "number").write_text(str(number))
        installs.keep(kept / f"key{number // 2 * 2}", folder=folder)
    assert sorted(path.name for path in kept.iterdir()) == ["key0", "key2", "key4"]
    last = checkout(tmp_path / "last")
    assert installs.restore(kept / "key4", folder=last)
    assert (last / "node_modules" / "number").read_text() == "5"


def test_a_damaged_install_is_not_used(tmp_path: Path) -> None:
    first, kept = checkout(tmp_path / "first"), tmp_path / "kept" / "key"
    for damage in ("0", "record.json"):
        (first / "node_modules").mkdir(exist_ok=True)
        (first / "node_modules" / "x").write_text("")
        installs.keep(kept, folder=first)
        (kept / damage).rename(tmp_path / f"away-{damage}")
        assert not installs.restore(kept, folder=first)
        assert not (first / ".deployd-install").exists()


def test_without_installed_folders_nothing_is_kept(tmp_path: Path) -> None:
    installs.keep(tmp_path / "kept" / "key", folder=checkout(tmp_path / "pnp"))
    assert not (tmp_path / "kept").exists()


def test_what_decides_an_install_decides_its_key(tmp_path: Path) -> None:
    folder = checkout(tmp_path)
    keys = {installs.key(plan(folder), folder=folder)}
    keys.add(installs.key(plan(folder, node="24.21.0"), folder=folder))
    keys.add(installs.key(plan(folder, lockfile_sha256="1" * 64), folder=folder))
    for name, text in {
        ".npmrc": "legacy-peer-deps=true", "apps/web/package.json": '{"name":"web"}', "patches/next.patch": "-",
        "prisma/schema.prisma": "model", "package.json": '{"scripts":{"postinstall":"node tools/after.js"}}',
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        keys.add(installs.key(plan(folder), folder=folder))
    (folder / "tools").mkdir()
    (folder / "tools" / "after.js").write_text("one")
    keys.add(installs.key(plan(folder), folder=folder))
    (folder / "tools" / "after.js").write_text("two")
    keys.add(installs.key(plan(folder), folder=folder))
    assert len(keys) == 10
    (folder / "page.tsx").write_text("an app's page")
    (folder / "node_modules").mkdir()
    (folder / "node_modules" / "package.json").write_text("{}")
    assert installs.key(plan(folder), folder=folder) in keys


# The lines that matter


def test_the_first_error_and_what_follows_it_is_told() -> None:
    lines = [f"line {n}" for n in range(50)] + ["\x1b[31m! Failed to compile\x1b[0m", "", "./app/page.tsx:1:1"]
    told = (telling([*lines, *[f"after {n}" for n in range(100)]]) or "").splitlines()
    assert told[:4] == ["line 48", "line 49", "! Failed to compile", "./app/page.tsx:1:1"]
    assert len(told) <= 33


def test_without_an_error_the_last_lines_are_told() -> None:
    assert (telling([f"line {n}" for n in range(50)]) or "").splitlines()[-1] == "line 49"
    assert telling([]) is None
    assert telling(["", "  "]) is None
