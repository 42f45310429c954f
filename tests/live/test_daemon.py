"""The daemon as a service on a lab server: installed, released through, killed, reloaded, stopped, lost and replaced.

`web1` is a host, `control` (the lab's second server) has the daemon. A laptop (this machine) reaches it over https with a
token; people on the control machine reach it over its unix socket. The tests run in their order.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import shlex
import ssl
import subprocess
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from deployd import lab
from tests.support import control, hostile
from tests.support.controlled import PORT, Control, commit, healthz, log_in, prepare, version
from tests.support.world import World, no_request_failed

if TYPE_CHECKING:
    from collections.abc import Iterator

EXPOSURE = 3.0
SITE = {
    "deployd.toml": 'name = "site"\n[build]\nframework = "static"\ncommand = "node make.js"\noutput = "dist"\n'
    '[environments.production]\nbranch = "main"\nhosts = ["web1"]\nport = 8081\n',
    "make.js": 'const fs = require("fs"); fs.mkdirSync("dist"); fs.copyFileSync("page.html", "dist/index.html");\n',
}


@pytest.fixture(scope="module")
def made(lab_names: Iterator[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    """Both servers; deployd is installed on the second one as a service, and listens for https."""
    folder = tmp_path_factory.mktemp("daemon")
    name = next(lab_names)
    hosts = lab.up(name, hosts=2).hosts
    try:
        web1, server = hosts
        laptop = World(folder=folder, hosts=(web1,), state=folder / "laptop")
        made = Control(lab=name, host=server, laptop=laptop)
        prepare(made, folder)
        yield made
    finally:
        lab.down(name)


def test_it_is_a_hardened_service_with_a_user_of_its_own(made: Control) -> None:
    told = control.properties(made.lab, made.host.name, "Type", "User", "WatchdogUSec", "ActiveState", "Restart")
    assert told == {
        "Type": "notify",
        "User": "deployd",
        "WatchdogUSec": "1min",
        "ActiveState": "active",
        "Restart": "always",
    }
    analysed = made.run("systemd-analyze", "security", "--no-pager", "deployd.service").text
    exposure = float(re.findall(r"Overall exposure level.*?: ([0-9.]+)", analysed)[0])
    assert exposure <= EXPOSURE, analysed
    assert made.run("stat", "-c", "%U %a", "/var/lib/deployd").text.split() == ["deployd", "700"]
    assert f"User={told['User']}" in made.run("systemctl", "cat", "deployd.service").text
    assert made.run("sh", "-c", f"ps -o user= -p {made.pid()}").text.strip() == "deployd"


def test_root_a_member_of_the_group_and_a_stranger(made: Control) -> None:
    """Root releases what only root can read; bob, of the group, does the same; ada gets no further than the socket."""
    told = made.deployd("release", "--artifact", made.artifact("1"), "--json")
    assert json.loads(told.text.splitlines()[-1])["outcome"] == "live"
    assert version(made) == "version 1"
    found = json.loads(made.deployd("status", "--json", user="bob").text)
    assert found["hosts"][0]["state"] == "live"
    assert json.loads(made.deployd("rollouts", "--json").text)[0]["who"] == "root"
    refused = made.deployd("status", "--json", user="ada", check=5)
    assert json.loads(refused.error_text.splitlines()[-1])["error"]["code"] == "not-in-group"
    assert "usermod -aG deployd" in refused.error_text


def test_a_commit_of_a_folder_that_only_its_owner_reads_is_brought_to_the_daemon(made: Control) -> None:
    script = (
        "umask 077; mkdir /home/bob; cd /home/bob; git init -q -b main site; cd site; cat >deployd.toml; "
        'echo \'const fs = require("fs"); fs.mkdirSync("dist"); fs.writeFileSync("dist/index.html", "by bob")\' >make.js; '
        "git add .; git -c user.name=b -c user.email=b@b commit -qm first; chown -R bob /home/bob"
    )
    made.run("sh", "-c", script, stdin=SITE["deployd.toml"])
    told = made.run("deployd", "release", "-C", "/home/bob/site", "--json", user="bob")
    assert json.loads(told.text.splitlines()[-1])["outcome"] == "live"
    assert version(made, port=8081) == "by bob"
    found = json.loads(made.run("deployd", "releases", "-C", "/home/bob/site", "--json", user="bob").text)
    assert (found[0]["branch"], found[0]["subject"], found[0]["dirty"]) == ("main", "first", False)


def test_every_command_of_a_person_works_over_the_socket_and_from_a_laptop(made: Control) -> None:
    made.deployd("release", "--artifact", made.artifact("2"), "--json")
    ids = [one["id"] for one in json.loads(made.deployd("releases", "--json").text)]
    made.deployd("env", "set", "GREETING=-", user="bob", stdin="hello")
    made.deployd("env", "pull", "/root/env", "--yes")
    assert "hello" in made.run("cat", "/root/env").text
    commands: list[tuple[str, ...]] = [
        ("status",), ("releases",), ("rollouts",), ("show", ids[0]), ("diff", ids[1], ids[0]), ("logs", "-n", "5"),
        ("env", "list"), ("host", "list"), ("host", "check"), ("approvals",), ("audit",), ("token", "list"), ("app", "list"),
        ("schedule", "list"), ("freeze", "--until", "2030-01-01T00:00", "--reason", "x"), ("unfreeze",), ("pin",), ("unpin",),
        ("mark", "good", ids[0]), ("restart",), ("prune",), ("unlock",), ("preview", "list"), ("key", "list"),
        ("notify", "list"), ("forge", "list"), ("resume",), ("open",), ("config",), ("adopt",),
    ]  # fmt: skip
    lines = [f"deployd {shlex.join((words[0], '-C', '/srv/shop', *words[1:]))} --json >/dev/null" for words in commands]
    made.run("sh", "-exc", "\n".join(lines), user="bob")
    for words in commands:
        made.laptop.run(*words, "--json")
    for told in (made.deployd("exec", "--", "sh", "-c", "cat; exit 3", stdin="by exec", check=3).text,
                 made.laptop.run("exec", "--", "sh", "-c", "cat; exit 3", stdin="by exec", check=3).out):  # fmt: skip
        assert told == "by exec"
    assert "http" in made.laptop.run("open", "--json").document["url"]
    refused = made.laptop.run("env", "pull", "--yes", "--json", check=5)
    assert refused.error["code"] == "not-local"


def test_scopes_hold_for_a_laptop(made: Control) -> None:
    env = dict(made.laptop.env)
    try:
        made.laptop.env["DEPLOYD_TOKEN"] = made.token("--scope", "read", "--app", "shop")
        assert made.laptop.status()["release"]
        assert made.laptop.run("rollback", "--yes", "--json", check=5).error["code"] == "token-scope"
        made.laptop.env["DEPLOYD_TOKEN"] = "dpl_nobody"
        assert made.laptop.run("status", "--json", check=5).error["code"] == "token-invalid"
    finally:
        made.laptop.env = env
    first = version(made)
    assert made.laptop.run("rollback", "--yes", "--json").last["outcome"] == "live"
    assert (first, version(made)) == ("version 2", "version 1")


def test_a_push_is_built_in_the_services_sandbox_and_goes_live(made: Control) -> None:
    repository = made.laptop.folder / "site"
    repository.mkdir()
    for name, text in {**SITE, "page.html": "pushed\n"}.items():
        (repository / name).write_text(text)
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "pushed"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *words], cwd=repository, check=True)
    made.repository = repository
    control.send_tree(made.lab, made.host.name, repository, "/srv/git/site")
    made.deployd("app", "add", "site", "--repository", "/srv/git/site")
    shown = json.loads(made.deployd("hook", "show", "site", "--json").text)
    made.secret = shown["secret"]
    assert shown["url"] == f"https://{made.host.address}:{PORT}/hooks/site"
    answered = push(made, shown["url"], delivery="one")
    assert answered["state"] == "asked"
    assert push(made, shown["url"], delivery="one")["state"] == "seen"
    told = made.laptop.run("watch", answered["rollout"], "--json")
    assert told.last["outcome"] == "live"
    assert version(made, port=8081) == "pushed"
    again = made.laptop.run("release", "-C", str(repository), "--json")
    assert again.last["outcome"] == "live"
    newest = made.laptop.run("rollouts", "-C", str(repository), "-n", "1", "--json").document[0]
    assert (newest["id"], newest["who"].startswith("token ")) == (again.last["rollout"], True)


def push(made: Control, url: str, *, delivery: str) -> dict[str, Any]:
    assert made.repository is not None
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=made.repository, check=True, capture_output=True, text=True
    ).stdout.strip()
    body = json.dumps(
        {
            "ref": "refs/heads/main", "before": "1" * 40, "after": commit, "commits": [], "head_commit": {"id": commit, "message": "x"},
            "repository": {"full_name": "a/site", "html_url": "https://forge.example/a/site"}, "sender": {"login": "ada"},
        }
    ).encode()  # fmt: skip
    signature = "sha256=" + hmac.new(made.secret.encode(), body, hashlib.sha256).hexdigest()
    headers = {
        "content-type": "application/json", "x-github-event": "push", "x-github-delivery": delivery,
        "x-hub-signature-256": signature,
    }  # fmt: skip
    trusted = ssl.create_default_context(cafile=made.laptop.env["SSL_CERT_FILE"])
    request = urllib.request.Request(url, data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=30, context=trusted) as answer:
        return dict(json.loads(answer.read()))


def test_a_build_is_a_user_of_its_own_and_reaches_nothing_of_the_daemons(made: Control) -> None:
    commit(made, "hostile", make_js=hostile.REACHES.replace("DAEMON", str(made.pid())))
    made.run("deployd", "release", "-C", "/srv/git/site", "--json")
    told = json.loads(version(made, port=8081))
    assert told["uid"] == int(made.run("id", "-u", "deployd-build").text)
    assert told["uid"] != int(made.run("id", "-u", "deployd").text)
    status = dict(line.split(":\t") for line in told["status"])
    assert (status["CapEff"], status["NoNewPrivs"], status["Groups"].strip()) == ("0" * 16, "1", "")
    for name, what in told.items():
        if name.startswith(("read ", "write ", "signal", "socket ")):
            assert what.startswith("no: "), (name, what)
    assert told["trace"] == "-1"
    assert "serve" not in told["names"]
    assert "make.js" in told["names"], "it did look"
    lists = {
        name.removeprefix("list "): set(what.split(",")) for name, what in told.items() if name.startswith("list ")
    }
    assert lists["/var/lib/deployd"] <= {"checkouts", "runtimes"}, lists
    assert len(lists["/var/lib/deployd/checkouts"]) == 1, "its own"
    nothing = ({"no: ENOENT"}, {"no: EACCES"}, {""})
    assert all(lists[place] in nothing for place in lists if not place.startswith("/var/lib/deployd")), lists
    assert all(lists[f"/var/lib/deployd/{name}"] in nothing for name in ("caches", "artifacts")), lists
    left = made.run("find", "/var/lib/deployd", "!", "-user", "deployd").text
    assert left == "", "what it wrote is the daemon's afterwards"


def test_whatever_a_build_does_the_daemon_answers(made: Control) -> None:
    """Forks without an end, all cores, a gigabyte of output; then a cancel. And all of the memory."""
    commit(made, "noisy", make_js=hostile.NOISY)
    process = subprocess.Popen(
        lab.ssh_argv(made.lab, made.host.name, ["deployd", "release", "-C", "/srv/git/site", "--json"]),
        stdout=subprocess.DEVNULL,
    )
    made.until(lambda: len(made.run("pgrep", "-f", "sleep 4713", check=None).text.split()) > 100)
    for _ in range(5):
        assert healthz(made) == 200
    made.laptop.status()
    made.run("deployd", "cancel", "-C", "/srv/git/site")
    assert process.wait(60) == 130
    made.until(lambda: made.run("pgrep", "-f", "sleep 4713", check=None).returncode == 1, seconds=60)
    greedy = SITE["deployd.toml"].replace("[build]\n", '[build]\nmemory = "400M"\n')
    commit(made, "greedy", make_js=hostile.GREEDY, deployd_toml=greedy)
    told = made.run("deployd", "release", "-C", "/srv/git/site", "--json", check=1)
    assert "took more than 400 MiB of memory" in told.text
    made.laptop.status()
    commit(made, "as before", make_js=SITE["make.js"], deployd_toml=SITE["deployd.toml"])


def test_git_push_goes_through_the_machines_own_sshd(made: Control) -> None:
    """`deployd install` told sshd: a key may push, sees the progress, and a build that fails refuses the push."""
    key, checkout = made.laptop.folder / "anna", made.laptop.folder / "pages"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    made.deployd("key", "add", "anna", "-", "--app", "pages", stdin=key.with_suffix(".pub").read_text())
    checkout.mkdir()
    text = SITE["deployd.toml"].replace('"site"', '"pages"').replace("8081", "8082")
    for name, content in {**SITE, "deployd.toml": text, "page.html": "by git\n"}.items():
        (checkout / name).write_text(content)

    def git(*words: str) -> subprocess.CompletedProcess[str]:
        ssh = (
            f"ssh -F none -i {key} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile={key}.known"
        )
        settings = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", f"core.sshCommand={ssh} -o LogLevel=ERROR"]
        return subprocess.run(
            ["git", *settings, *words], cwd=checkout, check=False, capture_output=True, text=True, timeout=180
        )

    address = f"deployd@{made.host.address}:pages"
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "first"]):
        assert git(*words).returncode == 0
    pushed = git("push", address, "main")
    assert pushed.returncode == 0, pushed.stderr
    assert "live on 1 host" in pushed.stderr
    assert version(made, port=8082) == "by git"
    (checkout / "make.js").write_text("process.exit(3);\n")
    git("commit", "-q", "-a", "-m", "broken")
    refused = git("push", address, "main")
    assert refused.returncode != 0
    assert "the build failed" in refused.stderr
    assert "pre-receive hook declined" in refused.stderr
    assert version(made, port=8082) == "by git"


@pytest.mark.parametrize("at", ["building", "starting"])
def test_killed_in_the_middle_of_a_rollout_it_is_started_again_and_ends_it(made: Control, at: str) -> None:
    """Systemd sees to the start, the daemon to the rollout; the command that waits for it hears how it ended."""
    before, slow = (
        version(made),
        f"const until = Date.now() + {4000 if at == 'starting' else 0}; while (Date.now() < until);",
    )
    new = f"killed-{at}"
    file = made.artifact(new, before=slow)
    pid = made.pid()
    with made.laptop.load() as load:
        words = lab.ssh_argv(
            made.lab, made.host.name, ["deployd", "release", "-C", "/srv/shop", "--artifact", file, "--json"]
        )
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, stderr=subprocess.PIPE)
        seen = []
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(json.loads(line))
            if seen[-1]["event"] == ("rollout_started" if at == "building" else "release_sealed"):
                break
        made.run("systemctl", "kill", "-s", "KILL", "deployd.service")
        rest, errors = process.communicate(timeout=120)
    ended = json.loads(rest.splitlines()[-1])
    no_request_failed(load)
    assert made.pid() not in {0, pid}
    assert (ended["outcome"], version(made)) in {
        ("live", f"version {new}"),
        ("failed", before),
        ("cancelled", before),
    }, errors
    assert int(control.properties(made.lab, made.host.name, "NRestarts")["NRestarts"]) >= 1


def test_cancel_and_time_limits_end_all_that_a_build_started(made: Control) -> None:
    """Also what left its process group: the sandbox ends with its first process."""
    assert made.repository is not None
    sleeps, before = ["pgrep", "-f", "sleep 471[12]"], version(made, port=8081)
    for change, code, outcome in (("", 130, "cancelled"), ('timeout = "3s"\n', 1, "failed")):
        text = SITE["deployd.toml"].replace("[build]\n", f"[build]\n{change}")
        for name, content in (("deployd.toml", text), ("make.js", hostile.SLEEPERS)):
            (made.repository / name).write_text(content)
        commit = ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", f"sleeps, {outcome}"]
        subprocess.run(["git", *commit], cwd=made.repository, check=True)
        control.send_tree(made.lab, made.host.name, made.repository, "/srv/git/site")
        words = ["deployd", "release", "-C", "/srv/git/site", "--json"]
        process = subprocess.Popen(lab.ssh_argv(made.lab, made.host.name, words), stdout=subprocess.PIPE, text=True)
        made.until(lambda: len(made.run(*sleeps, check=None).text.split()) >= 2)
        if outcome == "cancelled":
            made.run("deployd", "cancel", "-C", "/srv/git/site", user="bob")
        out, _ = process.communicate(timeout=60)
        assert (process.returncode, json.loads(out.splitlines()[-1])["outcome"]) == (code, outcome)
        made.until(lambda: made.run(*sleeps, check=None).returncode == 1, seconds=60)
    assert version(made, port=8081) == before


def test_no_secret_is_in_anything_that_the_service_says_or_keeps(made: Control) -> None:
    """Variables of a server and of a build, tokens, the hook's secret: journal, state folder, command lines, artifacts."""
    assert made.repository is not None
    look = "while :; do cat /proc/[0-9]*/cmdline; sleep 0.05; done >/run/looked 2>/dev/null"
    made.run("systemd-run", "--quiet", "--unit=look", "sh", "-c", look)
    made.deployd("env", "set", "SECRET=-", stdin="c4n4ry-server")
    made.run("deployd", "env", "set", "-C", "/srv/git/site", "BUILD_SECRET=-", "--build", stdin="c4n4ry-build")
    for name, text in {**SITE, "page.html": "pushed again\n"}.items():
        (made.repository / name).write_text(text)
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "good"], cwd=made.repository, check=True
    )
    control.send_tree(made.lab, made.host.name, made.repository, "/srv/git/site")
    made.laptop.run("watch", push(made, f"https://{made.host.address}:{PORT}/hooks/site", delivery="two")["rollout"])
    made.deployd("release", "--artifact", made.artifact("secret"))
    assert made.laptop.ask("/env?name=SECRET")[1] == "c4n4ry-server"
    made.run("systemctl", "stop", "look")
    secrets = ["c4n4ry-server", "c4n4ry-build", made.secret, made.laptop.env["DEPLOYD_TOKEN"]]
    journal = lab.run(made.lab, made.host.name, ["journalctl", "--no-pager", "-o", "export"]).stdout
    looked = lab.run(made.lab, made.host.name, ["cat", "/run/looked"]).stdout
    assert b"deployd\0serve" in looked
    assert b"daemon_ready" in journal
    for secret in secrets:
        assert secret.encode() not in journal
        assert secret.encode() not in looked
        kept = made.run("grep", "-rlaF", "--", secret, "/var/lib/deployd", check=None)
        assert (kept.returncode, kept.text) == (1, "")
    assert made.run("grep", "-rlaF", "--", "GREETING", "/var/lib/deployd").text, "grep finds what is there"


def test_sighup_reads_the_settings_again_in_the_same_process(made: Control) -> None:
    pid = made.pid()
    made.run("sh", "-c", "echo 'rollouts = 3' >>/etc/deployd/deployd.toml")
    made.run("systemctl", "reload", "deployd.service")
    made.until(lambda: any(one.get("changed") == ["rollouts"] for one in control.journal(made.lab, made.host.name)))
    made.run("sh", "-c", "echo 'rollouts = \"many\"' >>/etc/deployd/deployd.toml")
    made.run("systemctl", "reload", "deployd.service")
    made.until(lambda: any(one.get("event") == "settings_refused" for one in control.journal(made.lab, made.host.name)))
    made.run("sed", "-i", "/rollouts/d", "/etc/deployd/deployd.toml")
    made.run("systemctl", "reload", "deployd.service")
    assert made.pid() == pid
    assert made.laptop.status()["release"]


def test_it_stops_in_order_and_apps_serve_on(made: Control) -> None:
    serving = version(made)
    with made.laptop.load() as load:
        made.run("systemctl", "stop", "deployd.service")
        assert control.properties(made.lab, made.host.name, "Result")["Result"] == "success"
        assert made.laptop.run("status", "--json", check=6).error["code"] == "daemon-unreachable"
    no_request_failed(load)
    assert version(made) == serving
    assert control.journal(made.lab, made.host.name)[-1]["event"] == "daemon_ended"
    made.run("systemctl", "start", "deployd.service")
    made.until(made.is_active)


def test_a_new_daemon_learns_what_runs_and_can_go_back(made: Control) -> None:
    """The old one's state folder is gone: key, database, artifacts."""
    found = made.laptop.status()
    kept = [one["id"] for one in made.laptop.run("releases", "--json").document if one["state"] in {"live", "retired"}]
    with made.laptop.load() as load:
        made.run("systemctl", "stop", "deployd.service")
        made.run("sh", "-c", "rm -rf /var/lib/deployd/* && systemctl start deployd.service")
        log_in(made)
        assert made.laptop.run("releases", "--json").document == []
        adopted = made.laptop.run("adopt", "--json").document
        back = made.laptop.run("rollback", "--yes", "--json").last
    no_request_failed(load)
    assert {one["app"] for one in adopted["places"]} >= {"shop", "site"}
    assert {one["state"] for one in adopted["places"]} == {"adopted"}
    assert next(one["release"] for one in adopted["places"] if one["app"] == "shop") == found["release"]
    assert (back["outcome"], back["previous"]) == ("live", found["release"])
    assert back["release"] in kept
    assert made.laptop.status()["release"] == back["release"]
    assert made.laptop.run("adopt", "--json").document["places"][0]["state"] == "known"
