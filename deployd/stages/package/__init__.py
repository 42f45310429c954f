"""FileSet -> Artifact: manifest and content-addressed objects."""

from deployd.stages.package.archive import export, import_
from deployd.stages.package.artifacts import collect, load, package

__all__ = ["collect", "export", "import_", "load", "package"]
