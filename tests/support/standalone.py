"""A folder that looks as `next build` leaves a standalone app, and the paths of what is traced of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from deployd.domain.ids import BuildId
from deployd.domain.stages import BuildOutput, BuildPlan, FileSet
from deployd.stages.trace import trace

if TYPE_CHECKING:
    from pathlib import Path


class Built:
    """A folder that looks as `next build` leaves it: the app at `place` below the root of tracing."""

    def __init__(self, root: Path, place: str = "") -> None:
        self.root, self.place = root, place
        self.app = root / place
        self.dist = self.app / ".next"
        self.standalone = self.dist / "standalone" / place
        self.json(self.dist / "required-server-files.json", {"relativeAppDir": place, "files": [".next/BUILD_ID"]})
        self.json(self.dist / "routes-manifest.json", {"basePath": "", "headers": [], "redirects": [], "rewrites": []})
        self.json(self.dist / "server" / "middleware-manifest.json", {"middleware": {}})
        for path in (self.standalone / "server.js", self.dist / "BUILD_ID", self.standalone / ".next" / "BUILD_ID"):
            self.write(path, "x")
        self.write(self.dist / "static" / "chunks" / "a.js", "chunk")
        self.write(self.app / "public" / "robots.txt", "User-agent: *")

    @staticmethod
    def write(path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def json(self, path: Path, data: Any) -> None:
        self.write(path, json.dumps(data))

    def routes(self, **changes: Any) -> None:
        path = self.dist / "routes-manifest.json"
        self.json(path, json.loads(path.read_text()) | changes)

    def trace(self, **more: Any) -> FileSet:
        plan = BuildPlan(
            framework="nextjs", framework_version="16", manager="npm", manager_version=None, install=(), command=(),
            node="22.23.3", lockfile="", lockfile_sha256="", build_id=BuildId("b" + "0" * 20),
        )  # fmt: skip
        output = BuildOutput(
            root=str(self.root), app_dir=str(self.app), plan=plan, built=1, log="", seconds=0.0, **more
        )
        return trace(output, tools=self.root.parent / "tools")


def paths(files: FileSet) -> list[str]:
    return [file.path for file in files.files]
