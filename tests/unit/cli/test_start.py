"""The first steps: init, and getting to know servers."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from deployd import appfile
from deployd.cli import reference
from deployd.cli.host import ssh_argv
from deployd.cli.init import app_name
from deployd.cli.places import parse_place, shown
from deployd.errors import UnreachableError, UsageError
from deployd.hosts import doctor, keys
from deployd.hosts.doctor import Finding
from deployd.hosts.pool import Pool

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG4rT3vTt99Ox5kndS4HmgTrKBT8SKzhK4rhGkEVGlCI"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBl1ZbVTtFGwFGbPLsPcHbWQpR9nbCNQ3vXVr2xTt0aa"


@pytest.fixture
def scanned(monkeypatch):
    """What a host shows when its key is asked for."""
    shown = SimpleNamespace(key=KEY, asked=[])

    def scan(address, port=22, **_timeout):
        shown.asked.append((address, port))
        return shown.key, keys.fingerprint(shown.key)

    monkeypatch.setattr(keys, "scan", scan)
    return shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.7", ("root", "203.0.113.7", 22)),
        ("ada@web1.example:2222", ("ada", "web1.example", 2222)),
        ("[2001:db8::7]", ("root", "2001:db8::7", 22)),
        ("ada@[2001:db8::7]:2222", ("ada", "2001:db8::7", 2222)),
        ("ada@[fe80::1%eth0]:22", ("ada", "fe80::1%eth0", 22)),
    ],
)
def test_addresses(text, expected):
    assert parse_place(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a@b@c",
        "2001:db8::7",
        "host:0",
        "host:99999",
        "host:x",
        "-oProxyCommand=x",
        "ada@-x",
        "-l@host",
        "a b",
        "h;rm",
        "[zz]",
    ],
)
def test_no_addresses(text):
    with pytest.raises(UsageError):
        parse_place(text)


def test_an_ipv6_address_without_brackets_gets_the_right_hint():
    with pytest.raises(UsageError) as caught:
        parse_place("2001:db8::7")
    assert "[2001:db8::7]" in caught.value.fix
    with pytest.raises(UsageError) as caught:
        parse_place("ada@2001:db8::7")
    assert caught.value.fix.endswith(" ada@[2001:db8::7]")


@pytest.mark.parametrize("place", ["[2001:db8::7]:22", "203.0.113.7:2222", "web1.example:22"])
def test_an_address_is_shown_as_it_is_typed(place):
    assert shown(*parse_place(place)[1:]) == place


def test_add_shows_the_key_and_asks(deployd, app, client, scanned):
    print_of_key = keys.fingerprint(KEY)
    refused = deployd("host", "add", "web3", "ada@192.0.2.3:2222", terminal=True, stdin="n\n")

    assert refused.exit == 2
    assert print_of_key in refused.err
    assert "web3" not in client.known
    taken = deployd("host", "add", "web3", "ada@192.0.2.3:2222", terminal=True, stdin="y\n")
    assert taken.exit == 0
    host = client.known["web3"]
    assert (host.address, host.port, host.admin_user, host.host_key) == ("192.0.2.3", 2222, "ada", KEY)
    assert scanned.asked[-1] == ("192.0.2.3", 2222)


def test_add_in_a_pipe_needs_the_fingerprint(deployd, app, client, scanned):
    done = deployd("host", "add", "web3", "192.0.2.3", stdin="y\n")

    assert done.exit == 2
    assert f"--fingerprint {keys.fingerprint(KEY)}" in done.err
    assert deployd("host", "add", "web3", "192.0.2.3", "--fingerprint", keys.fingerprint(KEY)).exit == 0
    wrong = deployd("host", "add", "web4", "192.0.2.4", "--fingerprint", keys.fingerprint(OTHER), "--json")
    assert wrong.exit == 6
    assert json.loads(wrong.err)["error"]["code"] == "host-key-changed"
    assert "web4" not in client.known


@pytest.mark.parametrize("text", ["", "MD5:aa:bb", "SHA256:short", "0" * 64])
def test_a_fingerprint_that_is_none_is_wrong_usage(deployd, app, client, scanned, text):
    done = deployd("host", "add", "web3", "192.0.2.3", "--fingerprint", text, "--json")

    assert (done.exit, json.loads(done.err)["error"]["code"]) == (2, "fingerprint-invalid")
    assert not scanned.asked


def test_a_known_key_is_not_asked_about_and_a_changed_one_is(deployd, app, client, scanned):
    deployd("host", "add", "web3", "192.0.2.3", "--yes")
    assert deployd("host", "add", "web3", "192.0.2.33").exit == 0
    scanned.key = OTHER
    changed = deployd("host", "add", "web3", "192.0.2.33")

    assert changed.exit == 2
    assert keys.fingerprint(KEY) in changed.err
    assert client.known["web3"].host_key == KEY


def test_a_server_has_one_name(deployd, app, client, scanned):
    deployd("host", "add", "web3", "192.0.2.3", "--yes")
    again = deployd("host", "add", "web4", "192.0.2.3", "--yes")
    other_port = deployd("host", "add", "web4", "192.0.2.3:2222", "--yes")

    assert (again.exit, "web4 " in again.err, "web3 already" in again.err) == (2, False, True)
    assert other_port.exit == 0
    assert "web3 (192.0.2.3) has the same key" in other_port.err


def test_a_wrong_name_or_identity_is_refused_before_anything_is_asked(deployd, app, scanned):
    assert deployd("host", "add", "Web_3", "192.0.2.3").exit == 2
    assert deployd("host", "add", "web3", "192.0.2.3", "--identity", "gone").exit == 2
    (app / "key.pub").write_text("ssh-ed25519 AAAA")
    assert "identity-invalid" in deployd("host", "add", "web3", "192.0.2.3", "-i", str(app / "key.pub")).err
    assert scanned.asked == []


def test_drained_hosts_are_listed_and_given_back(deployd, app, client):
    client.known = {name: SimpleNamespace(**{**vars_of(host), "host_key": KEY}) for name, host in client.known.items()}
    done = deployd("host", "drain", "web1", "--wait", "0s", "--timeout", "1m")
    assert (done.exit, "nothing is open" in done.out) == (0, True)
    lines = deployd("host", "list").out.splitlines()
    assert lines[0].split() == ["NAME", "ADDRESS", "ADMIN", "KEY", "DRAINED"]
    assert [line.endswith("by ada") for line in lines[1:3]] == [True, False]
    assert [one["drained"] for one in json.loads(deployd("host", "list", "--json").out)] == [True, False]
    assert deployd("host", "undrain", "web1").exit == 0
    assert deployd("host", "drain", "web*", "--app", "shop", "-e", "staging", "--wait", "0s").exit == 0
    assert [(names, on) for names, _, on in client.drains] == [
        (("web1",), True), (("web1",), False), (("web1", "web2"), True),
    ]  # fmt: skip
    assert client.drains[-1][1] == ("shop", "staging")
    assert deployd("host", "drain", "web1", "--wait", "soon").exit == 2
    assert deployd("host", "drain", "db1").exit == 2


def test_list_and_remove(deployd, app, client):
    client.known = {name: SimpleNamespace(**{**vars_of(host), "host_key": KEY}) for name, host in client.known.items()}
    lines = deployd("host", "list").out.splitlines()

    assert lines[0].split() == ["NAME", "ADDRESS", "ADMIN", "KEY"]
    assert lines[1].split() == ["web1", "192.0.2.1:22", "root", keys.fingerprint(KEY)]
    assert deployd("host", "remove", "db*", "--yes").exit == 2
    assert deployd("host", "remove", "web*", "--yes").exit == 0
    assert client.known == {}
    assert deployd("host", "list").exit == 0
    assert deployd("host", "check").exit == 2


def vars_of(host):
    return {name: getattr(host, name) for name in host.__dataclass_fields__}


def test_ssh_accepts_the_pinned_key_only(tmp_path):
    from deployd.domain.host import Host

    host = Host(name="web1", address="192.0.2.1", port=2222, admin_user="ada", identity="/k", host_key=KEY)
    argv = ssh_argv(host, known_hosts=tmp_path / "known", algorithms=("ssh-ed25519",), command=("uptime",))

    assert argv[:7] == ["ssh", "-p", "2222", "-l", "ada", "-i", "/k"]
    assert "StrictHostKeyChecking=yes" in argv
    assert f"UserKnownHostsFile={tmp_path / 'known'}" in argv
    assert argv[-3:] == ["--", "192.0.2.1", "uptime"]


def test_check_draws_findings_and_their_fixes(deployd, app, client, monkeypatch, tmp_path):
    found = [
        Finding(host="web1", level="ok", what="helper 1"),
        Finding(host="web1", level="error", what="rsync is missing", fix="deployd host bootstrap web1"),
    ]
    gone = UnreachableError("web2 does not answer", host="web2", fix="see that it runs")
    missed = (Finding(host="web2", level="error", what=gone.what, fix=gone.fix),)
    monkeypatch.setattr(
        Pool, "connect_all", lambda _pool, names: {name: None if name == "web1" else gone for name in names}
    )
    monkeypatch.setattr(doctor, "check", lambda host, _pool: tuple(found) if host.name == "web1" else missed)
    done = deployd("host", "check", "--state-dir", str(tmp_path))

    assert done.exit == 6
    assert "✗ web1" in done.out
    assert "fix deployd host bootstrap web1" in done.out
    assert "web2 does not answer" in done.out
    assert deployd("host", "check", "web1", "--state-dir", str(tmp_path)).exit == 1
    rows = json.loads(deployd("host", "check", "web1", "--json", "--state-dir", str(tmp_path)).out)
    assert rows[1] == {
        "host": "web1",
        "level": "error",
        "what": "rsync is missing",
        "fix": "deployd host bootstrap web1",
    }


NEXT = {"name": "@acme/Web Shop!", "dependencies": {"next": "16.0.1"}, "scripts": {"build": "next build"}}


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A folder with a Next.js app and no deployd.toml."""
    folder = tmp_path / "My App_2"
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps(NEXT))
    (folder / "package-lock.json").write_text(
        json.dumps({"lockfileVersion": 3, "packages": {"node_modules/next": {"version": "16.0.1"}}})
    )
    monkeypatch.chdir(folder)
    return folder


def test_init_writes_a_file_that_says_it_all(deployd, bare):
    done = deployd("init", "--hosts", "web1, web2", "-e", "staging")

    assert done.exit == 0
    text = (bare / "deployd.toml").read_text()
    app = appfile.parse(text)
    assert (app.name, app.environment("staging").hosts) == ("web-shop", ("web1", "web2"))
    assert "Next.js 16" in text
    assert "# path = " in text
    assert "deployd release" in done.err


def test_init_takes_the_known_hosts_and_a_given_name(deployd, bare):
    found = json.loads(deployd("init", "--name", "web", "--json").out)
    assert (found["name"], found["hosts"], found["path"]) == ("web", ["web1", "web2"], str(bare / "deployd.toml"))


def test_init_never_overwrites_unasked(deployd, bare):
    (bare / "deployd.toml").write_text("mine")

    done = deployd("init")
    assert done.exit == 2
    assert f"{bare / 'deployd.toml'} is there already" in done.err
    assert (bare / "deployd.toml").read_text() == "mine"
    assert deployd("init", "--yes").exit == 0
    assert (bare / "deployd.toml").read_text() != "mine"


def test_init_refuses_wrong_names(deployd, bare, tmp_path):
    assert deployd("init", "--name", "Web Shop").exit == 2
    assert deployd("init", "--hosts", "Web 1").exit == 2
    assert deployd("init", "-C", str(tmp_path / "gone")).exit == 2
    assert not (bare / "deployd.toml").exists()


@pytest.mark.parametrize(
    ("folder", "package", "expected"),
    [
        ("shop", None, "shop"),
        ("x", '{"name": "@acme/Web_Shop"}', "web-shop"),
        ("2nd Shop", "{}", "nd-shop"),
        ("x", "[1]", "x"),
        ("ok", '{"name": 3}', "ok"),
        ("日本", "broken", "app"),
        ("y", json.dumps({"name": "a" * 50}), "a" * 30),
    ],
)
def test_names_are_made_to_fit(tmp_path, folder, package, expected):
    place = tmp_path / folder
    place.mkdir()
    if package:
        (place / "package.json").write_text(package)
    assert app_name(place) == expected


@pytest.mark.parametrize("name", sorted(reference.pages()))
def test_reference_pages_are_fresh(name):
    """`python -m deployd.cli.reference` writes them."""
    from pathlib import Path

    assert (Path(__file__).parents[3] / name).read_text() == reference.pages()[name]


def test_every_event_is_documented():
    from pathlib import Path

    from deployd.domain.events import Event

    page = (Path(__file__).parents[3] / "docs" / "reference" / "events.md").read_text()
    assert [event for event in Event if f"| `{event}` |" not in page] == []
