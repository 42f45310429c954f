"""What builds keep: which cache a branch starts from, what never gets in, what goes when there is no room."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from deployd import sandbox
from deployd.domain.events import quiet
from deployd.domain.ids import BuildId
from deployd.domain.stages import BuildPlan, SourceTree
from deployd.errors import NotFoundError, UsageError
from deployd.stages.build import builder, cache, frameworkcache, installs


@pytest.fixture(autouse=True)
def nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files stay the tests' own, whoever runs them."""
    monkeypatch.setattr(sandbox, "account", lambda: None)


def plan(environment: str = "production", framework: str = "nextjs") -> BuildPlan:
    return BuildPlan(
        framework=framework, framework_version=None, manager="npm", manager_version=None, install=("npm", "ci"),
        command=("x",), node="22", lockfile="", lockfile_sha256="", build_id=BuildId("b" + "0" * 20),
        environment=environment,
    )  # fmt: skip


class Ground:
    """Builds of one app: a checkout for each, one cache folder for all."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        self.caches = folder / "caches" / "shop"

    def start(
        self, *, environment: str = "production", branch: str | None = "main", framework: str = "nextjs"
    ) -> Build:
        self.count += 1
        return Build(self, self.folder / f"checkout{self.count}", plan(environment, framework), branch)

    @property
    def entries(self) -> list[str]:
        return sorted(f"{e.environment} {e.kind} {e.name}" for e in cache.entries(self.folder / "caches"))


class Build:
    def __init__(self, ground: Ground, root: Path, plan: BuildPlan, branch: str | None) -> None:
        root.mkdir()
        self.root, self.plan = root, plan
        source = SourceTree(
            root=str(root), app_dir=str(root), tree_hash="t", commit=None, branch=branch, ref="HEAD", subject=None,
            author=None, dirty=False,
        )  # fmt: skip
        self.kept = frameworkcache.kept(ground.caches, plan=plan, source=source)
        self.started_from = frameworkcache.restore(self.kept, root=root, app_dir=root)

    def write(self, **files: str) -> Build:
        for name, text in files.items():
            path = self.root / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return self

    def good(self, folder: str = ".next") -> None:
        frameworkcache.keep(self.kept, plan=self.plan, folder=folder, root=self.root, app_dir=self.root)

    def seen(self) -> dict[str, str]:
        return {str(path.relative_to(self.root)): path.read_text() for path in self.root.rglob("*") if path.is_file()}


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    return Ground(tmp_path)


def next_cache(build: Build, text: str) -> Build:
    files = {".next/cache/webpack/pack": text, ".next/cache/fetch-cache/a": text, ".next/cache/.previewinfo": text}
    return build.write(**files)


# Frameworks' caches


def test_a_branch_starts_from_its_own_cache(ground: Ground) -> None:
    first = ground.start()
    assert not first.started_from
    next_cache(first, "one").write(**{".turbo/cache/x.tar": "t", ".next/server/app.js": "s"}).good()
    assert not (first.root / ".next" / "cache").exists()
    second = ground.start()
    assert second.started_from
    assert set(second.seen()) == {".next/cache/webpack/pack", ".next/cache/fetch-cache/a", ".next/cache/.previewinfo", ".turbo/cache/x.tar"}  # fmt: skip
    next_cache(second, "two").good()
    assert ground.start().seen()[".next/cache/webpack/pack"] == "two"


def test_a_build_that_failed_or_was_cancelled_leaves_what_is_kept_as_it_was(ground: Ground) -> None:
    next_cache(ground.start(), "good").good()
    next_cache(ground.start(), "half-written")  # and never `good()`
    assert ground.start().seen()[".next/cache/webpack/pack"] == "good"


def test_a_new_branch_starts_from_productions_compilers_but_neither_its_data_nor_its_keys(ground: Ground) -> None:
    next_cache(ground.start(), "production").good()
    preview = ground.start(environment="preview", branch="feature/x")
    assert preview.seen() == {".next/cache/webpack/pack": "production"}
    next_cache(preview, "feature").good()
    assert ground.start(environment="preview", branch="feature/x").seen()[".next/cache/webpack/pack"] == "feature"
    assert ground.start(environment="preview", branch="other").seen() == {".next/cache/webpack/pack": "production"}
    assert ground.start().seen()[".next/cache/webpack/pack"] == "production"


def test_branches_whose_names_look_alike_are_not_one(ground: Ground) -> None:
    next_cache(ground.start(environment="preview", branch="a/b"), "slash").good()
    assert not ground.start(environment="preview", branch="a-b").started_from


def test_an_environment_with_one_branch_starts_from_its_last(ground: Ground) -> None:
    next_cache(ground.start(environment="staging", branch="old"), "old").good()
    assert ground.start(environment="staging", branch="new").seen()[".next/cache/fetch-cache/a"] == "old"


def test_another_build_folder_and_another_framework(ground: Ground) -> None:
    ground.start().write(**{"build/cache/x": "next", "build/server.js": "s"}).good("build")
    assert ground.start().seen() == {"build/cache/x": "next"}
    ground.start(environment="b", framework="astro").write(**{".astro/data.json": "astro"}).good("dist")
    assert ground.start(environment="b", framework="astro").seen() == {".astro/data.json": "astro"}


def test_a_link_leads_no_cache_out_of_the_checkout(ground: Ground, tmp_path: Path) -> None:
    next_cache(ground.start(), "good").good()
    outside = tmp_path / "outside"
    outside.mkdir()
    root = tmp_path / "checkout9"
    ground.count = 8
    root.mkdir()
    (root / ".next").symlink_to(outside)
    source = SourceTree(
        root=str(root), app_dir=str(root), tree_hash="t", commit=None, branch="main", ref="HEAD", subject=None,
        author=None, dirty=False,
    )  # fmt: skip
    kept = frameworkcache.kept(ground.caches, plan=plan(), source=source)
    assert not frameworkcache.restore(kept, root=root, app_dir=root)
    assert list(outside.iterdir()) == []
    (outside / "cache").mkdir()
    frameworkcache.keep(kept, plan=plan(), folder=".next", root=root, app_dir=root)
    assert (outside / "cache").is_dir()


def test_builds_at_the_same_time_keep_whole_caches(ground: Ground) -> None:
    builds = [ground.start() for _ in range(12)]
    for number, build in enumerate(builds):
        build.write(**{f".next/cache/{name}": str(number) for name in "abcdefgh"})
    found: list[set[str]] = []

    def read() -> None:
        for _ in range(20):
            with cache.held(builds[0].kept.zone, "kept", alone=False):
                files = [*(builds[0].kept.folder / "0").glob("*")]
                found.append({path.read_text() for path in files})

    threads = [threading.Thread(target=build.good) for build in builds] + [threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(len(texts) <= 1 for texts in found)
    assert len(set(ground.start().seen().values())) == 1
    assert not [path for path in builds[0].kept.folder.parent.iterdir() if path.name.startswith(".")]


# Installs of builds that failed


def test_packages_that_a_failed_build_wrote_into_are_not_kept(tmp_path: Path) -> None:
    folder = tmp_path / "checkout"
    for name in ("node_modules/next/index.js", "node_modules/.cache/x", "package.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
    before = (folder / "node_modules/next/index.js").stat().st_ctime
    assert installs.unchanged_since(before + 60, folder=folder)
    assert not installs.unchanged_since(before - 60, folder=folder)
    os.utime(folder / "node_modules/next/index.js", (1, 1))  # a build that hides its traces
    assert not installs.unchanged_since(before - 60, folder=folder)
    builder._keep_untouched(plan(), folder=folder, caches=tmp_path / "caches", since=before - 60)
    assert not (tmp_path / "caches").exists()
    builder._keep_untouched(plan(), folder=folder, caches=tmp_path / "caches", since=before + 60)
    (kept,) = (tmp_path / "caches" / "production" / "installs").glob("*/0/next/index.js")
    assert kept.is_file()
    assert not (kept.parents[1] / ".cache").exists()


def test_no_room_for_a_cache_fails_no_build() -> None:
    told: list[str] = []
    with builder._best_effort("kept not", lambda _event, /, **fields: told.append(str(fields["what"]))):
        raise OSError(28, "No space left on device")
    assert "No space left" in told[0]
    with builder._best_effort("kept not", quiet):
        pass


# The budget


def fill(caches: Path, name: str, *, used: float, size: int = 100_000) -> Path:
    folder = caches / name
    folder.mkdir(parents=True)
    (folder / "0").write_bytes(os.urandom(size))
    cache.write(folder, {"bytes": size}, used=used)
    return folder


def test_what_was_used_least_recently_goes_first(tmp_path: Path) -> None:
    old = fill(tmp_path, "shop/production/installs/old", used=1000)
    middle = fill(tmp_path, "blog/production/kept/main-1", used=2000)
    stores = fill(tmp_path, "blog/production/stores", used=3000)
    new = fill(tmp_path, "shop/preview/installs/new", used=4000)
    assert cache.keep_within(tmp_path, 400_000) == []
    assert [entry.folder for entry in cache.keep_within(tmp_path, 250_000)] == [str(old), str(middle)]
    assert [path.exists() for path in (old, middle, stores, new)] == [False, False, True, True]
    assert [entry.kind for entry in cache.keep_within(tmp_path, 0)] == ["stores", "installs"]
    assert cache.entries(tmp_path) == []


def test_what_a_build_is_using_stays(tmp_path: Path) -> None:
    stores = fill(tmp_path, "shop/production/stores", used=1000)
    with cache.held(tmp_path / "shop" / "production", "stores", alone=False):
        assert cache.keep_within(tmp_path, 0) == []
        gone, busy = cache.clear(cache.entries(tmp_path))
        assert (gone, [entry.kind for entry in busy]) == ([], ["stores"])
    assert stores.is_dir()
    assert len(cache.keep_within(tmp_path, 0)) == 1


def test_an_entry_without_a_record_is_measured_once(tmp_path: Path) -> None:
    folder = tmp_path / "shop" / "production" / "stores"
    folder.mkdir(parents=True)
    (folder / "a").write_bytes(b"x" * 50_000)
    os.link(folder / "a", folder / "b")
    (entry,) = cache.entries(tmp_path)
    assert 50_000 <= entry.size < 80_000
    assert cache.read(folder)["bytes"] == entry.size


def test_what_a_killed_deployd_left_half_way_is_removed_a_day_later(tmp_path: Path) -> None:
    old, young = tmp_path / "shop/production/.run-old", tmp_path / "shop/production/kept/.new-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (1, 1))
    cache.keep_within(tmp_path, 10**9)
    assert (old.exists(), young.exists()) == (False, True)


# To another machine and back


def test_what_is_exported_is_taken_in_elsewhere(ground: Ground, tmp_path: Path) -> None:
    next_cache(ground.start(), "good").good()
    fill(tmp_path / "caches", "blog/production/installs/k", used=1000)
    file = tmp_path / "caches.tar.gz"
    assert len(cache.export(tmp_path / "caches", file, app="shop")) == 1
    assert file.stat().st_mode & 0o777 == 0o600
    there = tmp_path / "there" / "caches"
    there.mkdir(parents=True)
    (name,) = cache.import_(there, file)
    assert name.startswith("shop production kept main ")
    (entry,) = cache.entries(there)
    assert (Path(entry.folder) / "0" / "webpack" / "pack").read_text() == "good"
    assert [path.name for path in there.iterdir()] == ["shop"]
    assert len(cache.import_(there, file)) == 1  # over the one of the same name


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "caches", "blog/production/installs/k", used=1000)
    with pytest.raises(UsageError, match=f"there is no folder {tmp_path}/none"):
        cache.export(tmp_path / "caches", tmp_path / "none" / "caches.tar.gz")


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    caches = tmp_path / "caches"
    caches.mkdir()
    with pytest.raises(NotFoundError):
        cache.export(caches, tmp_path / "x.tar")
    (tmp_path / "text.tar").write_text("no tar")
    for name in ("text.tar", "missing.tar"):
        with pytest.raises(UsageError):
            cache.import_(caches, tmp_path / name)
    assert list(caches.iterdir()) == []
