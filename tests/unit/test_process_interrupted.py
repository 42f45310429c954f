"""Programs that begin while somebody presses Ctrl-C."""

from __future__ import annotations

import sys

from deployd import process

_INTERRUPTED = """
import os, signal, threading
from deployd import process

signal.signal(signal.SIGINT, lambda *_: None)
over = threading.Event()

def interrupt():
    while not over.wait(0.0005):
        os.killpg(0, signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
print({process.run(["true"], check=False).returncode for _ in range(150)})
over.set()
"""


def test_ctrl_c_ends_no_program_that_just_begins() -> None:
    """The terminal's signal reaches the child as well until it has a session of its own: 15 of 100 died of it."""
    done = process.run([sys.executable, "-c", _INTERRUPTED], timeout=50)
    assert done.text == "{0}\n"
