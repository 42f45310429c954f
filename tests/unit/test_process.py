"""The one door to other programs: clean environment, limits that hold, nothing left running."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from deployd import process
from deployd.errors import CancelledError, CommandError

if TYPE_CHECKING:
    from pathlib import Path


def test_output_and_exit_code_come_back() -> None:
    done = process.run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)

    assert (done.returncode, done.text, done.error_text) == (3, "out\n", "err")


def test_a_failure_names_the_command_and_its_last_lines() -> None:
    with pytest.raises(CommandError) as caught:
        process.run(["sh", "-c", "echo 'it broke' >&2; exit 3"])

    assert "exited with 3" in caught.value.what
    assert caught.value.details == "it broke"


def test_a_missing_program_is_named() -> None:
    with pytest.raises(CommandError, match="no-such-program") as caught:
        process.run(["no-such-program"])

    assert caught.value.code == "command-missing"


def test_variables_that_are_too_large_are_no_missing_program() -> None:
    with pytest.raises(CommandError) as caught:
        process.run(["true"], env={"HUGE": "x" * 140_000})

    assert caught.value.code == "environment-too-large"


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_MINE", "x")

    assert set(process.run(["env"], env={"GIVEN": "1"}).text.split()) == {
        f"PATH={os.environ['PATH']}", f"HOME={os.environ['HOME']}", "LANG=C.UTF-8", "GIVEN=1",
    }  # fmt: skip


def test_stdin_is_given_or_closed() -> None:
    assert process.run(["cat"], stdin=b"x" * 300_000).stdout == b"x" * 300_000
    assert process.run(["cat"]).stdout == b""


def test_lines_come_as_they_are_written(tmp_path: Path) -> None:
    """It says more only once its first line was seen."""
    seen: list[str] = []

    def on_line(line: str) -> None:
        seen.append(line)
        (tmp_path / "seen").touch()

    script = f"echo one; while [ ! -e {tmp_path}/seen ]; do sleep 0.02; done; printf 'two\\nthree' >&2"
    process.run(["sh", "-c", script], on_line=on_line, timeout=30)

    assert seen == ["one", "two", "three"]


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        with open(f"/proc/{pid}/stat") as stat:  # noqa: PTH123
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def gone(pid: int) -> bool:
    """Whether a process ends, long before it would by itself."""
    return any(not alive(pid) or time.sleep(0.02) for _ in range(1000))


def test_a_time_limit_ends_the_whole_group() -> None:
    pids: list[int] = []

    for limit in (0.5, 2, 8):  # until it has come as far as its first line
        with pytest.raises(CommandError) as caught:
            process.run(
                ["sh", "-c", "trap '' TERM; sleep 60 & echo $!; wait; sleep 60"],
                timeout=limit, on_line=lambda line: pids.append(int(line)),
            )  # fmt: skip
        assert caught.value.code == "command-timeout"
        if pids:
            break

    assert gone(pids[0])


def test_cancel_ends_the_whole_group() -> None:
    cancel = threading.Event()
    pids: list[int] = []

    def on_line(line: str) -> None:
        pids.append(int(line))
        cancel.set()

    with pytest.raises(CancelledError):
        process.run(["sh", "-c", "sleep 60 & echo $!; wait"], cancel=cancel, on_line=on_line)

    assert gone(pids[0])


def test_a_grandchild_that_keeps_the_pipe_does_not_hang_us() -> None:
    done = process.run(["sh", "-c", "sleep 20 & echo started"], timeout=15)

    assert done.text == "started\n"


def test_what_is_missing_is_named_and_not_what_would_have_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_tied", lambda argv: ["setpriv-not-here", *argv])
    with pytest.raises(CommandError) as caught:
        process.run(["true"])
    assert (caught.value.code, caught.value.fix) == ("command-missing", "install setpriv-not-here, or see PATH")
