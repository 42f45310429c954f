"""`deployd env`: values come hidden, by stdin or by a file; never by argv unless asked, and are never shown."""

from __future__ import annotations

import json
import stat

import pytest

SECRET = "canary-7f3a"


def value(client, key, environment="production"):
    return client.kept["shop", environment, key]


def test_set_asks_hidden_on_a_terminal(deployd, app, client, monkeypatch):
    monkeypatch.setattr("getpass.getpass", lambda prompt, stream: SECRET if prompt == "KEY: " else "")
    done = deployd("env", "set", "KEY", terminal=True)

    assert done.exit == 0
    assert value(client, "KEY") == (SECRET, False)
    assert SECRET not in done.out + done.err


def test_set_reads_stdin(deployd, app, client):
    done = deployd("env", "set", "KEY=-", "-e", "staging", stdin=f"{SECRET}\nline 2\n")

    assert done.exit == 0
    assert value(client, "KEY", "staging") == (f"{SECRET}\nline 2", False)
    assert SECRET not in done.out + done.err
    assert deployd("env", "set", "A=-", "B=-", stdin="x").exit == 2


def test_a_value_in_argv_is_taken_only_with_plain(deployd, app, client):
    done = deployd("env", "set", f"KEY={SECRET}")

    assert done.exit == 2
    assert SECRET not in done.err
    assert client.kept == {}
    assert deployd("env", "set", "KEY=a=b", "EMPTY=", "--plain").exit == 0
    assert (value(client, "KEY"), value(client, "EMPTY")) == (("a=b", False), ("", False))


def test_public_variables_are_the_builds(deployd, app, client):
    deployd("env", "set", "NEXT_PUBLIC_URL=https://x", "--plain")
    deployd("env", "set", "TOKEN=x", "--plain", "--build")

    assert value(client, "NEXT_PUBLIC_URL")[1] is True
    assert value(client, "TOKEN")[1] is True


def test_a_value_that_no_program_could_be_given_is_refused_at_once(deployd, app, client):
    done = deployd("env", "set", "KEY=-", stdin="ü" * 70_000)

    assert (done.exit, client.kept) == (2, {})
    assert "value-too-long" in done.err
    assert deployd("env", "set", "KEY=-", stdin="x" * 100_000).exit == 0


@pytest.mark.parametrize("name", ["1A", "A-B", "", "A B", "NODE_ENV", "PORT", "DEPLOYD_RELEASE"])
def test_names_that_are_refused(deployd, app, client, name):
    assert deployd("env", "set", f"{name}=x", "--plain").exit == 2
    assert client.kept == {}


def test_a_variable_for_the_build_and_the_server(deployd, app, client):
    assert deployd("env", "set", "DATABASE_URL=x", "NEXT_PUBLIC_X=y", "--plain", "--both").exit == 0
    deployd("env", "set", "TOKEN=x", "--plain", "--build")

    rows = {line.split()[0]: line for line in deployd("env", "list").out.splitlines() if line}
    assert ("build, server" in rows["DATABASE_URL"], "build, server" in rows["TOKEN"]) == (True, False)
    told = {one["key"]: (one["build"], one["both"]) for one in json.loads(deployd("env", "list", "--json").out)}
    assert told == {"DATABASE_URL": (False, True), "NEXT_PUBLIC_X": (False, True), "TOKEN": (True, False)}
    deployd("env", "set", "DATABASE_URL=x", "--plain")
    assert "DATABASE_URL" not in client.both


def test_options_of_node_are_anybodys_as_the_warnings_say(deployd, app, client):
    assert deployd("env", "set", "NODE_OPTIONS=-r dd-trace/init", "--plain").exit == 0
    assert value(client, "NODE_OPTIONS") == ("-r dd-trace/init", False)


def test_import_is_all_or_nothing(deployd, app, client):
    (app / "good.env").write_text('A=1\nB="two\nlines"\n')
    (app / "bad.env").write_text("A=1\nPORT=3\n")
    (app / "broken.env").write_text(f"A='{SECRET}")

    assert deployd("env", "import", "bad.env").exit == 2
    broken = deployd("env", "import", "broken.env")
    assert broken.exit == 2
    assert SECRET not in broken.err
    assert deployd("env", "import", "gone.env").exit == 2
    assert client.kept == {}
    assert json.loads(deployd("env", "import", "good.env", "--json").out) == {"set": ["A", "B"]}
    assert value(client, "B") == ("two\nlines", False)
    assert deployd("env", "import", "-", stdin="C=3").exit == 0


def test_pull_writes_a_private_file_that_import_reads(deployd, app, client):
    deployd("env", "import", "-", stdin='A=1\nB="two\nlines"\n')
    done = deployd("env", "pull", "out.env")

    file = app / "out.env"
    assert done.exit == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = dict(client.kept)
    client.kept.clear()
    assert deployd("env", "import", "out.env").exit == 0
    assert client.kept == before
    assert deployd("env", "pull", "out.env").exit == 2
    assert deployd("env", "pull", "out.env", "--yes").exit == 0
    assert deployd("env", "pull").out == 'A="1"\nB="two\\nlines"\n'


def test_list_shows_no_value(deployd, app, client):
    deployd("env", "set", "KEY=-", stdin=SECRET)
    text, document = deployd("env", "list"), deployd("env", "list", "--json")

    assert SECRET not in text.out + document.out
    assert json.loads(document.out)[0]["key"] == "KEY"
    assert text.out.splitlines()[1].split()[:2] == ["KEY", "server"]


def test_unset(deployd, app, client):
    deployd("env", "set", "A=1", "B=2", "--plain")
    assert deployd("env", "unset", "A", "GONE").exit == 2
    assert len(client.kept) == 2
    assert deployd("env", "unset", "A", "B").exit == 0
    assert client.kept == {}


def test_an_unknown_environment_is_refused_before_anything_is_kept(deployd, app, client):
    assert deployd("env", "set", "A=1", "--plain", "-e", "stagin").exit == 2
    assert client.kept == {}
