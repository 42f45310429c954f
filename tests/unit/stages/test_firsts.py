"""What start scripts run before the server: database commands go into deployd.toml, the others are told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from deployd import appfile
from deployd.cli import annotated
from deployd.stages.build import explained, firsts

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("scripts", "runs"),
    [
        ({"start": "prisma migrate deploy && node dist/main.js"}, "prisma migrate deploy"),
        ({"start": "npx prisma migrate deploy && next start"}, "prisma migrate deploy"),
        ({"start": "npm run db:deploy && node x.js", "db:deploy": "prisma migrate deploy"}, "npm run db:deploy"),
        ({"start": "npm run up && node x.js", "up": "knex migrate:latest"}, "npm run up"),
        ({"prestart": "knex migrate:latest", "start": "node x.js"}, "npm run prestart"),
        ({"start": "npm run build && node x.js", "build": "tsc"}, None),
        ({"start": "rm -rf tmp; node x.js"}, None),
        ({"start": "tsc && drizzle-kit migrate && node seed.js && node x.js"}, "drizzle-kit migrate && node seed.js"),
        ({"start": "npm run go", "go": "typeorm migration:run -d dist/data.js && node x"}, "typeorm migration:run -d dist/data.js"),
        ({"start": "node x.js"}, None),
        ({"dev": "prisma migrate dev && next dev"}, None),
    ],
)  # fmt: skip
def test_database_commands_of_a_start_script_are_to_run(scripts: dict[str, str], runs: str | None) -> None:
    assert firsts.to_run({"scripts": scripts}) == runs


def test_what_nothing_runs_is_told() -> None:
    package = {"scripts": {"start": "tsc && prisma migrate deploy && node x.js"}}
    assert "`tsc && prisma migrate deploy`" in str(firsts.warning(package, before=""))
    assert firsts.warning(package, before="prisma migrate deploy") is None
    assert "`prisma migrate deploy`" in str(firsts.warning(package, before="tsc"))
    assert firsts.warning({"scripts": {"start": "node x.js"}}, before="") is None


def test_init_writes_it_down(tmp_path: Path) -> None:
    scripts = {"start": 'prisma migrate deploy --schema "db/my schema.prisma" && node server.js'}
    (tmp_path / "package.json").write_text(json.dumps({"name": "shop", "scripts": scripts}))
    (tmp_path / "server.js").write_text("")
    known = explained.explain(tmp_path, root=tmp_path)
    text = annotated.app_text(name="shop", before=known.before)
    read = appfile.parse(text).options.waves
    assert read.before == known.before == "prisma migrate deploy --schema 'db/my schema.prisma'"
    assert read.before_timeout == 600
    assert dict(known.found)["before"].startswith("prisma migrate deploy")
    assert not [one for one in known.assumed if "is not run on the servers" in one]
