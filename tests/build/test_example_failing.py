"""The example app's build when it fails, hangs, is cancelled or lacks something: what is said, and what is left."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployd.domain.options import Build
from deployd.errors import BuildError, CancelledError
from tests.support.shop import CANARY, Made, Shop, commit, git

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def changed(shop: Shop, again: Made) -> Iterator[Shop]:
    yield shop
    git("reset", "--quiet", "--hard", "HEAD~1", cwd=shop.repository)


def test_a_failing_build_shows_the_lines_that_matter(changed: Shop) -> None:
    commit(
        changed.repository, **{"app/page.tsx": "export default function Home() { return <p>{nothing.there}</p>; }\n"}
    )
    with pytest.raises(BuildError) as caught:
        changed.make()
    error = caught.value
    assert error.code == "build-failed"
    assert error.details
    assert "app/page.tsx" in error.details
    assert "nothing" in error.details
    assert len(error.details.splitlines()) <= 33
    assert "build.log" in error.fix


def test_a_secret_in_a_failing_builds_output_is_hidden(changed: Shop) -> None:
    script = "console.log(process.env.BUILD_SECRET, btoa(process.env.BUILD_SECRET)); console.error('Error: ' + process.env.BUILD_SECRET); process.exit(1)"
    commit(changed.repository, **{"fail.mjs": script})
    events: list[Any] = []
    with pytest.raises(BuildError) as caught:
        changed.make(options=Build(command="node fail.mjs"))
    assert "***" in (caught.value.details or "")
    shown = json.dumps(caught.value.to_json()) + json.dumps(events)
    log = (changed.state / "logs" / "build.log").read_text()
    for text in (shown, log):
        assert CANARY not in text
        assert base64.b64encode(CANARY.encode()).decode().rstrip("=") not in text


def test_a_build_that_hangs_is_ended_with_all_its_children(changed: Shop) -> None:
    commit(changed.repository, **{"hang.sh": "sleep 4711 & echo started; sleep 4711\n"})
    with pytest.raises(BuildError) as caught:
        changed.make(options=Build(command="sh hang.sh", timeout=2.0, install="true"))
    assert caught.value.code == "build-timeout"
    assert "build.timeout" in caught.value.fix
    assert not _left(b"sleep\x004711")


def test_a_cancelled_build_ends(changed: Shop) -> None:
    import threading

    commit(changed.repository, **{"hang.sh": "echo started; sleep 4712\n"})
    cancel = threading.Event()
    timer = threading.Timer(2.0, cancel.set)
    timer.start()
    with pytest.raises(CancelledError):
        changed.make(options=Build(command="sh hang.sh", install="true"), cancel=cancel)
    assert not _left(b"sleep\x004712")


def test_a_lock_file_that_does_not_fit_is_an_install_error(changed: Shop) -> None:
    package_json = json.loads((changed.repository / "package.json").read_text())
    package_json["dependencies"]["left-pad"] = "1.3.0"
    commit(changed.repository, **{"package.json": json.dumps(package_json)})
    with pytest.raises(BuildError) as caught:
        changed.make()
    assert caught.value.code == "install-failed"
    assert "lock file" in caught.value.fix


def test_a_build_that_makes_no_standalone_server_is_told(changed: Shop) -> None:
    commit(changed.repository, x="1")
    with pytest.raises(BuildError) as caught:
        changed.make(options=Build(command="echo nothing", install="true"))
    assert caught.value.code == "build-output-missing"


def test_nothing_of_the_operators_environment_reaches_the_build(changed: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPERATORS_SECRET", "theirs")
    monkeypatch.setenv("npm_config_omit", "dev")
    commit(changed.repository, **{"env.mjs": "console.log(JSON.stringify(process.env)); process.exit(1)"})
    with pytest.raises(BuildError) as caught:
        changed.make(options=Build(command="node env.mjs", install="true"))
    seen = json.loads(next(line for line in (caught.value.details or "").splitlines() if line.startswith("{")))
    assert "OPERATORS_SECRET" not in seen
    assert "npm_config_omit" not in seen
    assert seen["NODE_ENV"] == "production"
    assert seen["NEXT_PUBLIC_GREETING"] == "good morning"
    assert seen["CI"] == "1"
    assert seen["HOME"] == "/home/build"
    assert "node-22.23.3-linux-x64-glibc/bin" in seen["PATH"].split(":")[0]


def _left(words: bytes) -> bool:
    """Whether processes with these words stay: the kernel ends them one by one."""
    deadline = time.monotonic() + 20
    while found := any(words in _command(pid) for pid in _pids()):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)
    return found


def _pids() -> list[str]:
    return [path.name for path in Path("/proc").iterdir() if path.name.isdigit()]


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
