"""Names to complete on a tab: environments and hosts, from the nearest `deployd.toml`. Never an error, never slow."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from deployd.domain.options import APP_FILE


def environments(incomplete: str) -> list[str]:
    """The app's environments."""
    return [name for name in _environments() if name.startswith(incomplete)]


def hosts(incomplete: str) -> list[str]:
    """The hosts of all of the app's environments."""
    named = [host for table in _environments().values() if isinstance(table, dict) for host in table.get("hosts", ())]
    return sorted({host for host in named if isinstance(host, str) and host.startswith(incomplete)})


def _environments() -> dict[str, Any]:
    here = Path.cwd()
    for folder in (here, *here.parents):
        try:
            found = tomllib.loads((folder / APP_FILE).read_text(encoding="utf-8")).get("environments", {})
        except OSError:
            continue
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}
    return {}
