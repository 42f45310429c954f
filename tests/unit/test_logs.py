"""Records as JSON lines, with what was bound once in each; libraries stay quiet."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from deployd import logs


@pytest.fixture(autouse=True)
def _as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_a_pipe_gets_one_json_object_a_line():
    out = io.StringIO()
    logs.set_up(stream=out)
    logs.logger("rollouts", app="shop").info("release_flipped", host="web1")
    logging.getLogger("somebody").warning("plain %s", "text")

    first, second = (json.loads(line) for line in out.getvalue().splitlines())
    assert (first["event"], first["app"], first["host"], first["level"]) == ("release_flipped", "shop", "web1", "info")
    assert second["event"] == "plain text"


def test_below_the_level_nothing_is_written():
    out = io.StringIO()
    logs.set_up(style="console", level="warning", stream=out)
    logs.logger("rollouts").info("stage_started")
    logging.getLogger("dbos").info("launched")

    assert out.getvalue() == ""


def test_an_exception_is_data():
    out = io.StringIO()
    logs.set_up(style="json", stream=out)
    try:
        int("no")
    except ValueError:
        logs.logger("x").exception("failed")

    assert json.loads(out.getvalue())["exception"][0]["exc_type"] == "ValueError"
