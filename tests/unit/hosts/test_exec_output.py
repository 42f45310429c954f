"""What a command on a host wrote goes through as it is; the helper's refusal in its place becomes an error."""

from __future__ import annotations

import io
import json

import pytest

from deployd.hosts.refusals import Output

REFUSAL = {"ok": False, "code": "no-process", "what": "a static site", "fix": "none", "details": None, "live": "r"}
TEXT = (json.dumps(REFUSAL, separators=(",", ":")) + "\n").encode()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_refusal_is_not_output(size: int) -> None:
    to = io.BytesIO()
    output = Output(to)
    for start in range(0, len(TEXT), size):
        output.write(TEXT[start : start + size])

    assert output.end(1) == REFUSAL
    assert to.getvalue() == b""


@pytest.mark.parametrize(
    ("said", "exit_code"),
    [
        (TEXT, 0), (TEXT, 2), (b"", 1), (b"{", 1), (TEXT[:-3], 1), (TEXT + TEXT, 1), (b'{"ok":false,"code":"x"}', 1),
        (b"plain\n" + TEXT, 1), (TEXT[:40] + b"y" * 200_000, 1), (b'{"ok":true}', 1),
    ],
)  # fmt: skip
@pytest.mark.parametrize("size", [3, 1 << 20])
def test_everything_else_goes_through_as_it_is(said: bytes, exit_code: int, size: int) -> None:
    to = io.BytesIO()
    output = Output(to)
    for start in range(0, len(said), size):
        output.write(said[start : start + size])

    assert output.end(exit_code) is None
    assert to.getvalue() == said


def test_output_is_not_kept_waiting() -> None:
    to = io.BytesIO()
    output = Output(to)
    output.write(b"$ ")

    assert to.getvalue() == b"$ "
