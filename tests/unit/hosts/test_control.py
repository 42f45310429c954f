"""The daemon's installation: what the playbook is told, and what the unit of builds shuts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployd.hosts import control

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_mock import MockerFixture

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("opened", [False, True])
def test_the_playbook_is_told_whether_builds_may_reach_the_clouds_metadata(
    mocker: MockerFixture, *, opened: bool
) -> None:
    told: list[dict[str, Any]] = []

    def run(argv: Sequence[str], **_: Any) -> None:
        (inventory,) = (word for word in argv if word.endswith("inventory.json"))
        told.append(json.loads(Path(inventory).read_text())["all"]["hosts"]["this machine"])

    mocker.patch("deployd.hosts.control.os.geteuid", return_value=0)
    mocker.patch("deployd.hosts.control.installed_program", return_value=Path(sys.executable))
    mocker.patch("deployd.hosts.control.process.run", side_effect=run)
    control.run(on_line=print, open_metadata=opened)
    assert [one["deployd_metadata_open"] for one in told] == [opened]


def test_what_the_unit_of_builds_shuts_is_what_the_playbook_looks_for_as_a_resolver() -> None:
    unit = (ROOT / "systemd/deployd-build@.service").read_text()
    (shut,) = (line.partition("=")[2].split() for line in unit.splitlines() if line.startswith("IPAddressDeny="))
    assert "169.254.169.254" in shut
    playbook = (ROOT / "playbooks/control.yml").read_text()
    looked_for = playbook.partition("intersect(")[2].partition(")")[0]
    assert sorted(json.loads(looked_for.replace("'", '"'))) == sorted(one for one in shut if ":" not in one)
