"""A release's plan is planned for the hosts' CPU, as the release is, and asks each host once."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest

from deployd.domain.artifact import Provenance
from deployd.domain.ids import ArtifactName, ReleaseId, RuntimeName
from deployd.domain.release import Release, ReleaseState
from deployd.domain.stages import SourceRequest
from deployd.errors import BuildError
from deployd.rollouts import look
from deployd.rollouts.testing import FolderHost, FolderPool
from deployd.stages import build, package, source


@pytest.fixture
def wish(fleet_of_three, tmp_path):
    folder = tmp_path / "repository"
    folder.mkdir()
    (folder / "package.json").write_text('{"name": "shop", "dependencies": {"ms": "2.1.3"}}')
    lock = {"name": "shop", "lockfileVersion": 3, "packages": {"": {"dependencies": {"ms": "2.1.3"}}}}
    (folder / "package-lock.json").write_text(json.dumps(lock))
    (folder / "server.js").write_text("//")
    for words in (["init", "-qb", "main"], ["add", "-A"], ["commit", "-qm", "one"]):
        who = ["-c", "user.name=ada", "-c", "user.email=ada@example.com"]
        subprocess.run(["git", *who, *words], cwd=folder, check=True)
    return replace(fleet_of_three.wish(), source=SourceRequest(repository=str(folder), ref="main"))


def _pool(fleet) -> FolderPool:
    return FolderPool.below(fleet.folder / "hosts", fleet.store.hosts.all())


def _release_of(fleet, wish, tmp_path, *, cpu: str) -> ReleaseId:
    """A release whose build was planned as a rollout plans it, once its hosts have told their CPU."""
    tree = source.checkout(wish.source, mirrors=fleet.paths.mirrors, into=tmp_path / "tree")
    planned = build.plan_for(tree, wish.options, app=wish.app, environment=wish.environment, variables={}, cpu=cpu)
    made = Release(
        id=ReleaseId("20261121-100000-aaaaaaa"), app=wish.app, environment=wish.environment,
        artifact=ArtifactName("a" + "0" * 32), build_id=planned.build_id,
        runtime=RuntimeName(f"node-22.23.3-linux-{cpu}-glibc"), commit=tree.commit, branch="main", subject="one",
        dirty=False, who="ada", message=None, created="2026-11-21T10:00:00Z", state=ReleaseState.LIVE,
    )  # fmt: skip
    provenance = Provenance(
        app=made.app, environment=made.environment, release=made.id, artifact=made.artifact, build_id=made.build_id,
        runtime=made.runtime, commit=tree.commit, branch="main", ref="main", dirty=False, subject="one", author="ada",
        who="ada", message=None, created=made.created, node="22.23.3", lockfile_sha256=None, framework="node", deployd="0",
    )  # fmt: skip
    fleet.store.releases.add(made, provenance=provenance)
    return made.id


def _give_cpu(monkeypatch, cpu: str) -> None:
    own = FolderHost._facts
    monkeypatch.setattr(FolderHost, "_facts", lambda *words: {**own(*words), "cpu": cpu})


@pytest.mark.parametrize("cpu", ["x64", "arm64"])
def test_what_was_built_for_the_hosts_cpu_is_found_again(fleet_of_three, wish, tmp_path, monkeypatch, cpu) -> None:
    fleet = fleet_of_three
    monkeypatch.setattr(package, "load", lambda _artifacts, _name: None)
    release = _release_of(fleet, wish, tmp_path, cpu=cpu)

    _give_cpu(monkeypatch, cpu)
    assert _planned_build(fleet, wish) == f"take the artifact of {release}"
    assert [fleet.calls(name).count("facts") for name in fleet.names] == [1, 1, 1]

    _give_cpu(monkeypatch, "arm64" if cpu == "x64" else "x64")
    assert _planned_build(fleet, wish).startswith("build node with npm")


def _planned_build(fleet, wish) -> str:
    planned = look.plan_release(fleet.paths, fleet.store, _pool(fleet), wish)
    (built,) = [action.what for action in planned.actions if action.stage == "build"]
    return built


def test_a_fault_of_the_source_is_told_before_any_host_is_asked(fleet_of_three, wish) -> None:
    folder = wish.source.repository
    (fleet_of_three.folder / "repository" / "yarn.lock").touch()
    who = ["-c", "user.name=ada", "-c", "user.email=ada@example.com"]
    for words in (["add", "-A"], ["commit", "-qm", "two"]):
        subprocess.run(["git", *who, *words], cwd=folder, check=True)
    with pytest.raises(BuildError) as caught:
        look.plan_release(fleet_of_three.paths, fleet_of_three.store, _pool(fleet_of_three), wish)
    assert caught.value.code == "lockfiles-several"
    assert not [name for name in fleet_of_three.names if fleet_of_three.calls(name)]
