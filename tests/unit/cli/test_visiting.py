"""maintenance, open, preview password and preview link, as they are typed."""

from __future__ import annotations

import json
import socket
from dataclasses import replace

import bcrypt
import pytest

from deployd.domain.release import ReleaseState

R2 = "20261121-101530-3fa9c01-k2x7"


@pytest.fixture
def doors(client):
    return client.doors


@pytest.fixture
def previews(app):
    toml = app / "deployd.toml"
    head = "[environments.production]\n"
    toml.write_text(toml.read_text().replace(head, f'{head}preview_domain = "preview.test"\n'))
    return app


def nowhere(*_args, **_kwargs):
    raise socket.gaierror(-2, "Name or service not known")


def test_maintenance_on_and_off(deployd, app, doors, tmp_path):
    page = tmp_path / "away.html"
    page.write_text("<h1>away</h1>")
    addresses = ["--allow", "192.0.2.7", "--allow", "2001:DB8::0001", "--allow", "::ffff:198.51.100.9"]
    done = deployd("maintenance", "on", *addresses, "--page", str(page))
    assert done.exit == 0
    assert "get 503 on 2 hosts, but for 192.0.2.7, 2001:db8::1" in done.out
    assert doors.asked == [
        {
            "app": "shop", "environment": "production", "hosts": ("web1", "web2"), "on": True,
            "allow": ["192.0.2.7", "2001:db8::1", "198.51.100.9"], "page": "<h1>away</h1>",
        }
    ]  # fmt: skip
    assert json.loads(deployd("maintenance", "off", "--json").out) == {
        "maintenance": False, "allow": [], "changed": ["web1"],
    }  # fmt: skip
    doors.changed = ()
    assert "is not in maintenance" in deployd("maintenance", "off").out


def test_whole_networks_are_let_in(deployd, app, doors):
    given = ["10.1.2.3/8", "2001:DB8:1::/48", "::ffff:198.51.100.9", "203.0.113.7/32"]
    assert deployd("maintenance", "on", *[word for one in given for word in ("--allow", one)]).exit == 0
    assert doors.asked[0]["allow"] == ["10.0.0.0/8", "2001:db8:1::/48", "198.51.100.9", "203.0.113.7"]
    refused = deployd("maintenance", "on", "--allow", "2001:db8:1::/72")
    assert refused.exit == 2
    assert "2001:db8:1::/64" in refused.err


@pytest.mark.parametrize(
    "words",
    [
        ["--allow", "10.0.0.0/33"],
        ["--allow", "shop.example"],
        ["--page", "nothing.html"],
        ["--page", "."],
        ["--page", "/dev/zero"],
    ],
)
def test_what_maintenance_does_not_take(deployd, app, doors, words):
    done = deployd("maintenance", "on", *words)
    assert done.exit == 2
    assert doors.asked == []


def test_a_page_that_is_too_large(deployd, app, doors, tmp_path):
    page = tmp_path / "large.html"
    page.write_text("x" * 2_000_001)
    assert deployd("maintenance", "on", "--page", str(page)).exit == 2


def test_open_prints_the_live_address_and_those_of_releases(deployd, previews, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_kwargs: [()])
    assert deployd("open").out == "http://192.0.2.1/\n"
    for words, label in (
        (["--release", "k2x7"], R2), (["--branch", "feature/New"], "feature-new"), (["--pull", "12"], "pr-12"),
    ):  # fmt: skip
        assert deployd("open", *words).out == f"http://{label}.shop.preview.test\n"
    assert json.loads(deployd("open", "--pull", "12", "--json").out) == {
        "url": "http://pr-12.shop.preview.test", "curl": None,
    }  # fmt: skip


def test_open_where_no_dns_knows_the_name(deployd, previews, monkeypatch, client):
    monkeypatch.setattr(socket, "getaddrinfo", nowhere)
    address = client.host("web1").address
    name = f"{R2}.shop.preview.test"
    assert deployd("open", "--release", "k2x7").out == f"curl --resolve {name}:80:{address} http://{name}/\n"
    head = "[environments.production]\n"
    secure = f'{head}domains = ["shop.test"]\ntls = "internal"\n'  # nobody trusts the host's own authority
    toml = previews / "deployd.toml"
    toml.write_text(toml.read_text().replace(head, secure))
    told = deployd("open", "--release", "k2x7").out
    assert told == f"curl --insecure --resolve {name}:443:{address} https://{name}/\n"


def test_open_says_what_is_missing(deployd, app):
    told = deployd("open", "--release", "k2x7")
    assert told.exit == 2
    assert "preview_domain" in told.err
    assert deployd("open", "--release", "k2x7", "--pull", "1").exit == 2


def test_a_branch_without_an_address(deployd, previews):
    told = deployd("open", "--branch", "---")
    assert (told.exit, "no address" in told.err) == (2, True)


def test_a_release_says_where_it_can_be_seen(deployd, previews):
    assert f"see it at http://{R2}.shop.preview.test" in deployd("release", "--no-activate", "--yes").out


def test_a_password_becomes_a_hash(deployd, app):
    told = json.loads(deployd("preview", "password", "--json", stdin="open sesame\n").out)
    assert bcrypt.checkpw(b"open sesame", told["preview_password"].encode())
    assert deployd("preview", "password", stdin="\n").exit == 2
    assert deployd("preview", "password", stdin="x" * 73 + "\n").exit == 2


def test_a_link_to_a_preview(deployd, previews, doors):
    told = deployd("preview", "link", "--release", "k2x7", "--for", "2h")
    assert told.out == f"http://{R2}.shop.preview.test/?deployd_share={'k' * 32}\n"
    assert doors.asked == [
        {"app": "shop", "environment": "production", "hosts": ("web1", "web2"), "label": R2, "seconds": 7200.0}
    ]
    assert deployd("preview", "link").exit == 2
    for wrong in ("5s", "400d"):  # told before a host is asked, in a person's words
        told = deployd("preview", "link", "--release", "k2x7", "--for", wrong)
        assert (told.exit, f"a minute to a year, not for {wrong}" in told.err) == (2, True)
    assert len(doors.asked) == 1


def test_status_shows_maintenance(deployd, app, client, monkeypatch):
    found = client.status("shop", "production", ["web1", "web2"])
    away = replace(found.hosts[1], maintenance={"since": "2026-11-21T10:16:00+00:00", "allow": []})
    monkeypatch.setattr(client, "status", lambda *_: replace(found, hosts=(found.hosts[0], away)), raising=False)
    told = deployd("status").out
    assert "visitors get 503 on web2" in told
    assert json.loads(deployd("status", "--json").out)["hosts"][1]["maintenance"]["allow"] == []


def test_a_canary_from_few_to_all(deployd, app, client, doors, monkeypatch):
    none = deployd("canary", "10%")
    assert (none.exit, "prepared" in none.err) == (2, True)
    client.made = [replace(client.made[0], state=ReleaseState.PREPARED), *client.made[1:]]
    told = deployd("canary", "10%")
    assert f"10% of visitors get {R2}" in told.out
    assert deployd("canary", "33.5", "--release", "k2x7").exit == 0
    assert [(one["release"], one["percent"], one["hosts"]) for one in doors.asked] == [
        (R2, 10.0, ("web1", "web2")), (R2, 33.5, ("web1", "web2")),
    ]  # fmt: skip
    for wrong in ("101%", "ten", "-5", "10%%"):
        assert deployd("canary", wrong).exit == 2

    assert deployd("release", "--finish").exit != 0  # the hosts say that there is none
    found = client.status("shop", "production", ["web1", "web2"])
    hosts = tuple(replace(host, canary={"release": R2, "percent": 33.5}) for host in found.hosts)
    monkeypatch.setattr(client, "status", lambda *_: replace(found, hosts=hosts), raising=False)
    assert f"33.5% of visitors get {R2}" in deployd("status").out
    assert deployd("release", "--finish").exit == 0
    assert (client.wishes[-1].release, type(client.wishes[-1]).__name__) == (R2, "ActivateWish")
    assert deployd("release", "--finish", "--dirty").exit == 2


def test_a_rollback_ends_a_canary_and_leaves_what_is_live(deployd, app, client, doors):
    doors.noted = R2
    told = deployd("rollback")
    assert (told.exit, client.wishes) == (0, [])
    assert f"{R2} is marked bad" in told.out
    assert next(one for one in client.made if one.id == R2).mark == "bad"
    assert deployd("rollback").exit == 0
    assert len(client.wishes) == 1
    doors.noted = R2
    assert "stays prepared" in deployd("canary", "off").out
    assert "no canary" in deployd("canary", "off").out
