"""Links to previews on a host: each ends in its time, also when a reboot took its timer away."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from deployd_host import shares

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest


def test_a_reboot_takes_away_what_is_over_and_times_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timed: list[Sequence[str]] = []
    monkeypatch.setattr(shares, "run", timed.append)
    place: Any = SimpleNamespace(shares=str(tmp_path))
    for name, left in (("over", -1), ("good", 1000)):
        (tmp_path / "pr-1").mkdir(exist_ok=True)
        key = tmp_path / "pr-1" / name
        key.touch()
        os.utime(key, (time.time() + left,) * 2)

    shares.sweep_shares(place)
    assert ([key.name for key in (tmp_path / "pr-1").iterdir()], timed) == (["good"], [])
    shares.sweep_shares(place, anew=True)
    (words,) = timed
    (told,) = [int(word.partition("=")[2]) for word in words if word.startswith("--on-active=")]
    assert 900 < told <= 1001
    assert words[-4:] == ["/usr/bin/rm", "-f", "--", str(tmp_path / "pr-1" / "good")]
