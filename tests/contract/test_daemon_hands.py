"""What a person does by hand, through a real daemon: restart, prune, locks, diff, host check, uploads; and who may not."""

from __future__ import annotations

import io
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from deployd.domain.ids import HostName
from deployd.domain.options import Keep, Options
from deployd.domain.secret import Secret
from deployd.errors import DeploydError, NotAllowedError, NotFoundError
from deployd.remote import bringing, connection
from deployd.remote.client import RemoteClient
from deployd.remote.connection import Daemon
from deployd.stages import source
from tests.contract.test_daemon_life import CLIENTS, NAMES, PRODUCTION, SHOP, client_of, quiet, release, serve, wish
from tests.contract.test_daemon_queue import commit, git, repository

__all__ = ["repository", "serve"]


def away_from(served, here: RemoteClient, scope: str) -> RemoteClient:
    _, text = here.create_token(scope=scope, apps=[], expires_in=60, note=scope)
    away = RemoteClient(Daemon(url=f"http://127.0.0.1:{served.port}", token=Secret(text)), here.paths, who="ada")
    CLIENTS.append(away)
    return away


def test_restart_prune_and_locks_through_the_socket_and_by_token(serve):
    served = serve(listen="127.0.0.1:0")
    here = client_of(served)
    made = [release(served, name).release for name in ("one", "two", "three")]
    away = away_from(served, here, "release")
    for client in (here, away):
        told: list[str] = []
        client.restart(SHOP, PRODUCTION, hosts=NAMES, report=lambda event, told=told, **_: told.append(str(event)))
        assert told.count("release_started") == len(NAMES)
    keep = replace(Options(), keep=Keep(releases=1, failed=0, skew_protection=0))
    results = away.prune(SHOP, PRODUCTION, hosts=NAMES, options=keep, report=quiet)
    assert [one.host for one in results] == list(NAMES)
    assert all(made[0] in one.removed and made[2] in one.kept for one in results)
    assert {one.held for one in away.locks(SHOP, PRODUCTION, hosts=NAMES)} == {False}
    away.unlock(SHOP, PRODUCTION, hosts=NAMES[:1])
    assert {one.action for one in here.audit(limit=20)} >= {"restart", "prune", "unlock"}


def test_an_app_is_taken_off_its_hosts_by_an_admin_alone_and_audited(serve):
    served = serve(listen="127.0.0.1:0")
    here = client_of(served)
    live = release(served, "one").release
    wanted = {"options": Options(), "everywhere": True, "variables": False, "report": quiet}
    before = away_from(served, here, "read").servers.presence(SHOP, PRODUCTION, NAMES)
    assert {one["live"] for one in before} == {live}
    with pytest.raises(NotAllowedError):
        away_from(served, here, "release").servers.destroy(SHOP, PRODUCTION, NAMES, **wanted)
    assert here.servers.presence(SHOP, PRODUCTION, NAMES) == before

    done = away_from(served, here, "admin").servers.destroy(SHOP, PRODUCTION, NAMES, **wanted)

    assert [(one["host"], one["removed"]) for one in done["hosts"]] == [(name, True) for name in NAMES]
    assert {one["live"] for one in here.servers.presence(SHOP, PRODUCTION, NAMES)} == {None}
    assert "destroy" in {one.action for one in here.audit(limit=20)}


def test_what_fails_in_a_stream_is_raised_as_it_was_and_audited(serve):
    served = serve(listen="127.0.0.1:0")
    here = client_of(served)
    release(served, "one")
    with pytest.raises(NotFoundError) as unknown:
        here.restart(SHOP, PRODUCTION, hosts=[HostName("web9")], report=quiet)
    assert "web9" in unknown.value.what
    with pytest.raises(DeploydError):
        here.diff(here.releases(SHOP, PRODUCTION)[0].id, "20261121-101530-3fa9c01-k2x7")


def test_hosts_are_looked_over_by_the_daemon(serve):
    served = serve()
    here = client_of(served)
    found, far = here.servers.check(here.hosts())
    assert far == []
    assert {one["host"] for one in found} == set(NAMES)
    assert here.servers.key_elsewhere().startswith("ssh-ed25519 ")


def test_a_host_is_drained_by_an_admin_and_an_app_of_it_by_who_releases_it(serve):
    served = serve(listen="127.0.0.1:0")
    here = client_of(served)
    release(served, "one")
    hosts = here.hosts()[:1]
    name, away = hosts[0].name, away_from(served, here, "release").servers
    with pytest.raises(NotAllowedError):
        away.drain(hosts, None, on=True)
    with pytest.raises(NotAllowedError):
        away_from(served, here, "read").servers.drain(hosts, (SHOP, PRODUCTION), on=True)
    assert here.servers.drained() == {}

    (told,) = away.drain(hosts, (SHOP, PRODUCTION), on=True)
    assert (told["host"], told["drained"], told["changed"]) == (name, ["app"], True)
    (told,) = here.servers.drain(hosts, None, on=True)
    assert told["drained"] == ["app", "host"]
    assert list(away.drained()) == [name]
    state = {host.name: host.drained for host in here.status(SHOP, PRODUCTION, hosts=NAMES).hosts}
    assert state[name] == ("app", "host")
    here.servers.drain(hosts, None, on=False)
    assert away.drained() == {}
    assert [one.action for one in here.audit(limit=20)].count("drain") >= 3


def test_scopes_and_places_of_what_is_done_by_hand(serve):
    served = serve(listen="127.0.0.1:0")
    here = client_of(served)
    release(served, "one")
    read, admin = away_from(served, here, "read"), away_from(served, here, "admin")
    with pytest.raises(NotAllowedError) as scope:
        read.restart(SHOP, PRODUCTION, hosts=NAMES, report=quiet)
    with pytest.raises(NotAllowedError) as no_exec:
        away_from(served, here, "release").exec(
            SHOP, PRODUCTION, host=NAMES[0], argv=["id"], stdin=None, stdout=io.BytesIO(), stderr=io.BytesIO()
        )
    with pytest.raises(NotAllowedError) as values:
        admin.reveal_variables(SHOP, PRODUCTION)
    with pytest.raises(NotAllowedError) as upload:
        admin._link.upload("/v1/uploads", io.BytesIO(b"x"), kind="artifact", app="shop")
    codes = [one.value.code for one in (scope, no_exec, values, upload)]
    assert codes == ["token-scope", "token-scope", "not-local", "not-local"]


def test_a_plan_through_the_daemon(serve, repository):
    served = serve(listen="127.0.0.1:0")
    here = client_of(served)
    here.add_app(SHOP, repository=str(repository), subdir="")
    (repository / "index.html").write_text("x")
    git(repository, "add", ".")
    commit(repository, "a page")
    made = wish("HEAD")
    made = replace(made, source=replace(made.source, repository=str(repository)))
    for client in (here, away_from(served, here, "release")):
        plan = client.plan(made)
        assert (plan.app, plan.environment) == (SHOP, PRODUCTION)
        assert {one.stage for one in plan.actions} >= {"source", "flip"}
    assert here.releases(SHOP, PRODUCTION) == ()


def test_a_commit_is_brought_as_a_bundle(serve, repository, tmp_path, monkeypatch):
    """As to a daemon of another user: the wish names what the daemon has, with the commit, its branch and its history."""
    served = serve()
    here = client_of(served)
    first = git(repository, "rev-parse", "HEAD")
    second = commit(repository, "second")
    monkeypatch.setattr(bringing.os, "geteuid", lambda: 12345)
    made = wish("HEAD")
    made = replace(made, source=replace(made.source, repository=str(repository)))
    for wanted, ref in ((first, first), (second, "HEAD"), (second, "main")):
        brought = bringing.brought(replace(made, source=replace(made.source, ref=ref)), here._link)
        assert brought.source.ref == wanted
        assert str(served.state) in brought.source.repository
        tree = source.checkout(
            brought.source, mirrors=tmp_path / "mirrors", into=tmp_path / f"into-{wanted[:7]}-{ref[:4]}"
        )
        assert (tree.commit, Path(tree.root, "deployd.toml").is_file()) == (wanted, True)
    assert tree.branch == "main"
    with pytest.raises(DeploydError) as dirty:
        bringing.brought(replace(made, source=replace(made.source, dirty=True)), here._link)
    assert dirty.value.code == "daemon-other-user"


def test_an_upload_that_is_no_bundle_is_refused(serve):
    served = serve()
    link = client_of(served)._link
    with pytest.raises(DeploydError) as caught:
        link.upload("/v1/uploads", io.BytesIO(b"no bundle"), kind="bundle", app="shop")
    assert caught.value.code == "bundle-invalid"
    assert not list((served.state / "uploads").glob(".*"))
    path = link.upload("/v1/uploads", io.BytesIO(b"x" * 2_000_000), kind="artifact", app="shop")["path"]
    assert Path(path).read_bytes() == b"x" * 2_000_000


def test_a_command_on_a_host_that_nobody_knows(serve):
    here = client_of(serve())
    with pytest.raises(NotFoundError) as unknown:
        here.exec(
            SHOP, PRODUCTION, host=HostName("web9"), argv=["id"], stdin=None, stdout=io.BytesIO(), stderr=io.BytesIO()
        )
    assert "web9" in unknown.value.what


def test_a_connection_that_was_idle_for_long_is_opened_anew(serve, monkeypatch):
    """The daemon closes what is idle for 30 s; `host bootstrap` lets a minute pass between two requests."""
    here = client_of(serve())
    assert here.me()["scope"] == "admin"
    before = here._link._open.sock
    here.me()
    assert here._link._open.sock is before
    monkeypatch.setattr(connection, "_IDLE", 0.0)
    before.shutdown(socket.SHUT_RDWR)
    assert here.me()["scope"] == "admin"
