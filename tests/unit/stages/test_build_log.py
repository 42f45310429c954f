"""The kept log of a build: its size, a full disk, and lines without an end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from deployd import process
from deployd.domain.events import Event
from deployd.stages.build import buildlog

if TYPE_CHECKING:
    from pathlib import Path


class Told:
    def __init__(self) -> None:
        self.events: list[tuple[Event, dict[str, Any]]] = []

    def __call__(self, event: Event, /, **fields: Any) -> None:
        self.events.append((event, fields))

    def of(self, event: Event) -> list[dict[str, Any]]:
        return [fields for told, fields in self.events if told is event]


def test_lines_are_kept_and_told_without_secrets(tmp_path: Path) -> None:
    told = Told()
    with buildlog.logged(tmp_path / "logs" / "x.log", variables={"TOKEN": "hush-hush"}, report=told) as on_line:
        assert on_line("token hush-hush") == "token ***"
        on_line("\udcff odd")
    assert (tmp_path / "logs" / "x.log").read_text() == "token ***\n? odd\n"
    assert (tmp_path / "logs" / "x.log").stat().st_mode & 0o777 == 0o600
    assert told.of(Event.BUILD_OUTPUT)[0]["line"] == "token ***"


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        ("\x1b[31mred\x1b[0m and \x1b[1;32mgreen\x1b[m", "red and green"),
        ("\x1b]0;a title\x07after \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "after link"),
        ("\x1b[2J\x1b[Hgone\x07\x00", "gone"),
        ("10 %\r50 %\rdone\r\n", "done"),
        ("a\ttab, an \u00fc and \u4f60", "a\ttab, an \u00fc and \u4f60"),
        ("\x9b31mold", "31mold"),
        ("hush\x1b[0m-hush", "***"),
    ],
)
def test_no_line_commands_a_terminal(tmp_path: Path, printed: str, shown: str) -> None:
    told = Told()
    with buildlog.logged(tmp_path / "x.log", variables={"TOKEN": "hush-hush"}, report=told) as on_line:
        assert on_line(printed) == shown
    assert (tmp_path / "x.log").read_text() == f"{shown}\n"


def test_a_log_has_an_end_and_the_build_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buildlog, "LIMIT", 1000)
    told = Told()
    with buildlog.logged(tmp_path / "x.log", variables={}, report=told) as on_line:
        for _ in range(100):
            on_line("x" * 99)
    assert 900 <= (tmp_path / "x.log").stat().st_size <= 1100
    assert 9 <= len(told.of(Event.BUILD_OUTPUT)) <= 11, "who prints more has lost its way"
    assert [fields["code"] for fields in told.of(Event.WARNING)] == ["log-full"]


def test_a_full_disk_fails_no_build(tmp_path: Path) -> None:
    told = Told()
    (tmp_path / "full.log").symlink_to("/dev/full")
    with buildlog.logged(tmp_path / "full.log", variables={}, report=told) as on_line:
        assert [on_line(text) for text in ("a", "b")] == ["a", "b"]
    assert "No space left" in told.of(Event.WARNING)[0]["what"]
    assert len(told.of(Event.WARNING)) == 1


def test_a_line_without_an_end_takes_no_memory() -> None:
    lines: list[str] = []
    process.run(["sh", "-c", "head -c 5000000 /dev/zero | tr '\\0' x; echo; echo end"], on_line=lines.append)
    assert max(map(len, lines)) < 2**21
    assert sum(map(len, lines)) == 5_000_003
    assert lines[-1] == "end"


def test_a_long_line_is_cut_between_words() -> None:
    lines: list[str] = []
    process.run(["sh", "-c", "yes some-secret-word | head -c 3400000 | tr '\\n' ' '"], on_line=lines.append)
    assert len(lines) > 1
    assert {word for line in lines[:-1] for word in line.split()} == {"some-secret-word"}
