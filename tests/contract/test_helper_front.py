"""What a stolen key can say: the front half takes the helper's verbs and one form of rsync, and refuses all else."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.contract.fakehost import A, Package, names

if TYPE_CHECKING:
    from tests.contract.fakehost import FakeHost

TABLES = Path(__file__).parent / "tables"


def table(name: str) -> Any:
    return json.loads((TABLES / f"{name}.json").read_text())


def test_only_the_helpers_verbs_pass(configured: FakeHost) -> None:
    cases = table("commands")
    with ThreadPoolExecutor(4) as pool:
        replies = list(pool.map(lambda case: configured.by_key(case["command"]), cases))

    wrong = [
        (case["command"], reply)
        for case, reply in zip(cases, replies, strict=True)
        if (reply.exit, reply.json.get("code")) != (126, case["code"]) or len(reply.lines) != 1 or not reply["fix"]
    ]
    assert wrong == []


def test_a_verb_passes_with_its_stdin_and_exit_code(configured: FakeHost) -> None:
    assert configured.by_key("deployd-host holder shop production")["held"] is False
    begun = configured.by_key(
        f"deployd-host begin shop production {A}",
        stdin=json.dumps({"manifest": Package().manifest(), "runtime": "node-22.22.3-linux-x64-glibc"}).encode(),
    )
    assert len(begun["missing"]) == 3
    failed = configured.by_key(f"deployd-host start shop production {A}")
    assert (failed.exit, failed["code"]) == (1, "not-sealed")


def test_only_our_rsync_into_one_incoming_folder_passes(configured: FakeHost) -> None:
    configured.begin(A, Package())
    incoming = configured.root / "srv/deployd/incoming"
    (incoming / "shop-production" / "link").symlink_to("/etc")
    cases = table("rsync")

    def call(words: str) -> subprocess.CompletedProcess[bytes]:
        command = words.replace("DEST", f"{incoming}/shop-production/{A}").replace("INCOMING", str(incoming))
        return subprocess.run(
            configured.argv(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=configured.environment(SSH_ORIGINAL_COMMAND=command),
            timeout=30,
            check=False,
        )

    with ThreadPoolExecutor(4) as pool:
        refused = list(pool.map(call, cases["refused"]))
        accepted = list(pool.map(call, cases["accepted"]))

    # rsync would take JSON on stdout for its protocol, so it comes on stderr
    assert [
        words for words, done in zip(cases["refused"], refused, strict=True) if _code(done) != "rsync-refused"
    ] == []
    assert [words for words, done in zip(cases["accepted"], accepted, strict=True) if _code(done)] == []
    assert all(done.returncode == 126 for done in refused)


def _code(done: subprocess.CompletedProcess[bytes]) -> str | None:
    try:
        return str(json.loads(done.stderr)["code"])
    except ValueError:
        return None


def test_real_rsync_brings_objects_flat_and_private(configured: FakeHost, tmp_path: Path) -> None:
    package = Package()
    missing = configured.begin(A, package)["missing"]
    objects = tmp_path / "objects"
    for sha256 in missing:
        (objects / sha256[:2]).mkdir(parents=True, exist_ok=True)
        (objects / sha256[:2] / sha256).write_bytes(package.contents[sha256])
    (tmp_path / "list").write_text("".join(f"{sha256[:2]}/{sha256}\n" for sha256 in missing))
    ssh = tmp_path / "ssh"
    start = " ".join(configured.argv())
    ssh.write_text(f'#!/bin/sh\nshift\nSSH_ORIGINAL_COMMAND="$*" exec {start}\n')
    ssh.chmod(0o755)
    to = f"{configured.root}/srv/deployd/incoming/shop-production/{A}/"

    options = ["-t", "--no-relative", "--partial-dir=.deployd-partial", "--chmod=F600", "--timeout=60", "--stats"]
    subprocess.run(
        ["rsync", *options, f"--files-from={tmp_path}/list", "-e", str(ssh), f"{objects}/", f"host:{to}"],
        env={**os.environ, **configured.environment()},
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert names(Path(to)) == missing
    assert {(Path(to) / name).stat().st_mode & 0o7777 for name in missing} == {0o600}
    assert configured.ok("seal", "shop", "production", A, doc={"provenance": {}})["files"] == 3


def test_no_shell_and_no_hooks_through_the_key(host: FakeHost) -> None:
    """With SSH_CONNECTION set, as sshd does, the test hooks are not honoured."""
    reply = host.raw(SSH_CONNECTION="1.2.3.4 5 6.7.8.9 22", SSH_ORIGINAL_COMMAND="")

    assert (reply.exit, reply["code"]) == (126, "refused")
    facts = host.ok("facts", SUDO_USER="deployd")
    assert facts["runtimes"] != ["node-22.22.3-linux-x64-glibc"]


def test_documents_that_are_not_what_they_should_be(configured: FakeHost) -> None:
    for stdin in (b"", b"[]", b"{", b"null", b"\xff", b"\x1f\x8b\x08garbage", b"[" * 100_000):
        reply = configured.raw("prune", "shop", "production", stdin=stdin)
        assert (reply.exit, reply["code"]) == (126, "bad-request"), stdin[:10]
    replies = configured.served([(["configure", "shop", "production"], doc) for doc in table("configs")])
    assert [
        doc for doc, reply in zip(table("configs"), replies, strict=True) if reply.get("code") != "bad-request"
    ] == []


def test_serve_does_many_verbs_and_refuses_streams(configured: FakeHost) -> None:
    replies = configured.served(
        [
            (["facts"], None),
            (["hold", "shop", "production"], None),
            (["serve"], None),
            (["boot"], None),
            (["status", "shop", "production"], None),
            (["prune", "shop", "production"], {"keep": [], "protect": []}),
        ]
    )

    assert [reply.get("code") for reply in replies] == [None, "bad-request", "bad-request", "bad-request", None, None]
