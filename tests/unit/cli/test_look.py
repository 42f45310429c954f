"""What is looked at: status, releases, show, logs, config, docs, completion; and exec."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from deployd.cli.render import align, clean, width
from deployd.cli.status import ago
from deployd.domain.artifact import FileEntry, LinkEntry, Manifest
from deployd.domain.release import ReleaseState
from deployd.rollouts.differences import compare
from deployd.rollouts.wishes import LogLine

R1 = "20261120-101530-aaaaaaa-aaaa"
R2 = "20261121-101530-3fa9c01-k2x7"


def test_status_on_a_pipe(deployd, app):
    done = deployd("status")

    assert done.exit == 0
    lines = done.out.splitlines()
    assert lines[:3] == ["shop production", f"  release   {R2}", "  commit    3fa9c01"]
    assert lines[4:] == [
        f"  previous  {R1}",
        "",
        "HOST  ADDRESS    RELEASE                       STATE  RUNNING  URL",
        f"web1  192.0.2.1  {R2}  live   2/2      http://192.0.2.1/",
        f"web2  192.0.2.2  {R2}  live   2/2      http://192.0.2.2/",
    ]


def test_status_json_has_the_promised_shape(deployd, app):
    found = json.loads(deployd("status", "--json").out)

    assert set(found) >= {"app", "environment", "release", "commit", "since", "hosts", "previous", "rollout"}
    assert set(found["hosts"][0]) >= {"name", "address", "release", "state", "instances", "url"}


def test_status_shows_a_server_that_crashes_again_and_again(deployd, app, client):
    client.restarts = 12
    done = deployd("status")

    assert f"web1  192.0.2.1  {R2}  live   2/2               http" in done.out
    assert f"web2  192.0.2.2  {R2}  live   2/2, 12 restarts  http" in done.out
    assert "web2: the app's server ended by itself 12 times; `deployd logs --host web2` says why" in done.err
    assert [one["restarts"] for one in json.loads(deployd("status", "--json").out)["hosts"]] == [0, 12]


def test_what_is_live_on_hosts_that_cannot_be_asked_is_not_known(deployd, app, client, monkeypatch):
    gone = [
        replace(host, state="unreachable", release=None) for host in client.status("shop", "production", ["web1"]).hosts
    ]
    told = replace(client.status("shop", "production", []), release=None, hosts=tuple(gone))
    monkeypatch.setattr(client, "status", lambda *_: told)
    done = deployd("status")

    assert done.exit == 6
    assert "release   not known: no host could be asked" in done.out


def test_hosts_that_differ_exit_with_3(deployd, app, client):
    client.mixed = True
    found = deployd("status", "--json")

    assert found.exit == 3
    assert (json.loads(found.out)["release"], json.loads(found.out)["mixed"]) == (None, True)
    shown = deployd("status")
    assert "the hosts differ" in shown.out
    assert "deployd release" in shown.err
    assert "deployd resume" not in shown.err, "nothing was interrupted"


def test_a_release_that_bakes_says_for_how_long_still(deployd, app, client):
    seen = {"seconds_left": 212.4, "watched": ["web1"], "waiting": 1, "what": "5xx 0.0 % of 812 requests"}
    client.under_way = {"id": "r-1", "state": "baking", "alive": True, **seen}
    client.mixed = True
    done = deployd("status")
    assert done.exit == 3
    line = next(one for one in done.out.splitlines() if "baking" in one)
    assert line.split(None, 1)[1] == (
        "r-1 baking, 3 m 32 s left on web1 before the other hosts get it; 5xx 0.0 % of 812 requests"
    )
    assert "deployd watch r-1" in done.out + done.err
    assert json.loads(deployd("status", "--json").out)["rollout"]["seconds_left"] == 212.4

    client.under_way = {"id": "r-1", "state": "flipping", "alive": False}
    assert "its process is gone: `deployd resume`" in deployd("status").out


def test_releases_with_their_marks(deployd, app, client):
    dirty = replace(
        client.made[1],
        id="20261119-101530-bbbbbbb-bbbb",
        dirty=True,
        state=ReleaseState.FAILED,
        live_at=None,
        mark=None,
    )
    client.made.append(dirty)
    lines = deployd("releases").out.splitlines()

    assert [line.split()[0] for line in lines[1:]] == [R2, R1, dirty.id]
    assert "current" in lines[1]
    assert "previous good" in lines[2]
    assert "dirty failed" in lines[3]
    assert lines[1].endswith("Fix the price")
    assert [one["marks"] for one in json.loads(deployd("releases", "--json", "-n", "2").out)] == [
        ["current"],
        ["previous", "good"],
    ]
    assert deployd("releases", "-e", "staging").exit == 0


def test_show(deployd, app):
    assert json.loads(deployd("show", "k2x7", "--json").out)["id"] == R2
    assert "node-22.22.3-linux-x64-glibc" in deployd("show", R2).out
    assert deployd("show", "nope").exit == 2


def test_a_commit_subject_cannot_draw_on_the_terminal(deployd, app, client):
    client.made[0] = replace(client.made[0], subject="\x1b]0;owned\x07\x1b[2Jhi")
    assert "\x1b" not in deployd("releases").out + deployd("show", "k2x7").out


def test_what_differs_between_two_manifests():
    def entry(path, sha, mode=0o644):
        return FileEntry(path=path, mode=mode, size=1, sha256=sha)

    old = Manifest(
        entry="s.js", files=(entry("a", "1"), entry("b", "1"), entry("c", "1"), LinkEntry(path="l", target="a"))
    )
    new = Manifest(
        entry="s.js",
        files=(entry("b", "2"), entry("c", "1", 0o755), entry("d", "1"), LinkEntry(path="l", target="a")),
    )
    assert compare(old, new) == {"added": ["d"], "removed": ["a"], "changed": ["b", "c"]}


def test_logs_have_host_names_in_front(deployd, app, client, monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    client.lines = [
        LogLine(host="web1", time=1.5, release=R2, instance="1", message="up \x1b[31mred\x1b[0m", stream="stdout"),
        LogLine(host="web2", time=2.0, release=R2, instance="1", message="caf\udce9", stream="stderr"),
    ]
    done = deployd("logs", "-n", "5", "--since", "1h30m", "--release", "k2x7", "-f")

    assert done.exit == 0
    assert [line.split()[0] for line in done.out.splitlines()] == ["web1", "web2"]
    assert done.out.splitlines()[0].endswith("up red")
    asked = client.wishes[-1]
    assert (asked["lines"], asked["since"], asked["release"], asked["follow"]) == (5, "5400s", R2, True)
    events = [json.loads(line) for line in deployd("logs", "--json").out.splitlines()]
    assert [(one["seq"], one["event"], one["host"], one["time"]) for one in events] == [
        (1, "log_line", "web1", "1970-01-01T00:00:01.500Z"),
        (2, "log_line", "web2", "1970-01-01T00:00:02.000Z"),
    ]
    assert deployd("logs", "--since", "soon").exit == 2


def test_exec_passes_the_exit_code_on(deployd, app, client):
    assert deployd("exec", "--", "node", "-e", "1", "--json").exit == 3
    assert client.wishes == [("web1", ["node", "-e", "1", "--json"])]
    assert deployd("exec", "--host", "web*", "node", "--version").exit == 3
    assert [host for host, _ in client.wishes[1:]] == ["web1", "web2"]
    assert deployd("exec", "--json", "--", "node").exit == 2


def test_config_says_where_each_value_comes_from(deployd, app, monkeypatch, tmp_path):
    file = tmp_path / "daemon.toml"
    file.write_text('timeout = "5m"\n')
    monkeypatch.setenv("DEPLOYD_CONFIG", str(file))
    monkeypatch.setenv("DEPLOYD_WHO", "ci")
    found = json.loads(deployd("config", "--json", "--state-dir", str(tmp_path)).out)

    values = {one["key"]: (one["value"], one["origin"]) for one in found["values"]}
    settings = {one["key"]: (one["value"], one["origin"]) for one in found["settings"]}
    assert values["hosts"] == (["web1", "web2"], "[environments.production]")
    assert settings["timeout"] == ("300.0", str(file))
    assert settings["who"] == ("ci", "DEPLOYD_WHO")
    assert settings["state_dir"] == (str(tmp_path), "--state-dir")
    assert "probe.timeout" in deployd("config").out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stat_dir = 'x'", ("unknown key `stat_dir`", "did you mean `state_dir`")),
        ("timeout = 'soon'", ("`timeout` in", "not a duration")),
        ("= 3", ("cannot be read",)),
    ],
)
@pytest.mark.usefixtures("app")
def test_a_wrong_daemon_configuration_is_told(deployd, monkeypatch, tmp_path, text, words):
    file = tmp_path / "daemon.toml"
    file.write_text(text)
    monkeypatch.setenv("DEPLOYD_CONFIG", str(file))
    done = deployd("status")

    assert done.exit == 2
    for word in words:
        assert word in done.err


def test_a_daemons_address_is_not_ignored_silently(deployd, app, monkeypatch):
    monkeypatch.setenv("DEPLOYD_URL", "https://deployd.example")
    done = deployd("status")

    assert done.exit == 2
    assert "there is no token for the daemon at https://deployd.example" in done.err
    assert "deployd login https://deployd.example" in done.err


def test_a_token_goes_nowhere_unencrypted(deployd, app, monkeypatch):
    monkeypatch.setenv("DEPLOYD_URL", "http://deployd.example")
    monkeypatch.setenv("DEPLOYD_TOKEN", "dpl_secret")
    done = deployd("status")

    assert done.exit == 2
    assert "not encrypted" in done.err
    assert "dpl_secret" not in done.err


def test_what_only_a_daemon_does_says_so(deployd, app):
    for words in (("app", "list"), ("token", "list"), ("audit",), ("release", "--detach")):
        done = deployd(*words)
        assert (done.exit, "daemon-needed" in done.err) == (2, True), words


def test_docs_prints_sections_offline(deployd, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert deployd("docs", "probe").out.splitlines()[2] == "[probe]"
    assert 'name = "shop"' in deployd("docs").out
    assert "state_dir" in deployd("docs", "daemon").out
    missed = deployd("docs", "prob")
    assert missed.exit == 2
    assert "did you mean 'probe'" in missed.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(deployd, shell):
    script = deployd("completion", shell).out
    assert "_DEPLOYD_COMPLETE" in script
    assert deployd("completion", "tcsh").exit == 2


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("deployd rel", {"release", "releases"}),
        ("deployd host b", {"bootstrap"}),
        ("deployd release --no", {"--no-activate", "--no-cache"}),
        ("deployd --js", {"--json"}),
        ("deployd status -e st", {"staging"}),
        ("deployd -e production status --host web", {"web1", "web2"}),
    ],
)
def test_completions(app, words, expected):
    environment = os.environ | {
        "_DEPLOYD_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    program = [sys.executable, "-c", "import sys; sys.argv = ['deployd']; from deployd.cli.main import main; main()"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)

    assert set(done.stdout.split()) == expected, done.stderr


def test_times_as_people_say_them():
    now = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    assert ago("2026-11-21T11:59:56+00:00", now=now) == "4 s ago"
    assert ago("2026-11-21T09:50:00Z", now=now) == "2 h 10 m ago"
    assert ago("2026-11-21T12:00:00", now=now) == "just now"
    assert (ago(None), ago("yesterday")) == ("", "yesterday")


def test_columns_align_with_colours_and_wide_letters():
    lines = align([("\x1b[1mab\x1b[0m", "x"), ("日本", "x"), ("e\u0301", "x")])
    assert {width(line) for line in lines} == {7}
    assert align([]) == []
    assert align([("1", "x"), ("22", "x")], right=frozenset({0})) == [" 1  x", "22  x"]


def test_clean_keeps_text_and_drops_control():
    assert clean("a\tb\x00\x1b[2Jc\x9bd\x1b]8;;x\x07e\r") == "a\tbcde"


def test_compressed_siblings_are_not_listed_beside_their_file(deployd, app, client, monkeypatch):
    paths = {"added": ["a.html", "a.html.br", "a.html.gz"], "removed": ["data.gz"], "changed": []}
    found = {"before": R2, "after": R2, "changed": {}, "routes": {}, "packages": {}, "files": paths, "sizes": [1, 2]}
    monkeypatch.setattr(client, "diff", lambda *_: found, raising=False)
    shown = deployd("diff", R2, R2).out.splitlines()
    assert shown[1:3] == ["+ a.html", "- data.gz"]
    assert shown[3].startswith("3 added, 1 removed, 0 changed")
    assert json.loads(deployd("diff", R2, R2, "--json").out)["files"] == paths
