"""Values as checkpoints keep them: the stages' frozen values become plain JSON and come back.

A checkpoint holds nothing but JSON, so that it can be read by the next version, and never a secret.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from deployd import errors
from deployd.domain.artifact import Runtime, StaticSite
from deployd.domain.ids import BuildId, RuntimeName
from deployd.domain.stages import BuildOutput, BuildPlan, SourceTree

if TYPE_CHECKING:
    from collections.abc import Mapping

Json = dict[str, Any]


def to_json(value: SourceTree | BuildOutput | Runtime) -> Json:
    """A stage's value as plain JSON."""
    return asdict(value)


def source_tree(data: Mapping[str, Any]) -> SourceTree:
    """A `SourceTree` again."""
    return SourceTree(**data)


def build_output(data: Mapping[str, Any]) -> BuildOutput:
    """A `BuildOutput` again, with its plan."""
    plan = dict(data["plan"])
    plan |= {name: tuple(plan[name]) for name in ("install", "command")}
    plan["build_id"] = BuildId.parse(plan["build_id"])
    static = StaticSite(**data["static"]) if data.get("static") else None
    lists = {name: tuple(data.get(name, ())) for name in ("entries", "include")}
    return BuildOutput(**{**data, **lists, "plan": BuildPlan(**plan), "static": static})


def runtime(data: Mapping[str, Any]) -> Runtime:
    """A `Runtime` again."""
    return Runtime(**{**data, "name": RuntimeName.parse(data["name"])})


def error_to_json(error: errors.DeploydError) -> Json:
    """An error with its class's name; the exit code is the class's."""
    return {"class": type(error).__name__, "fields": error.fields()}


def error_from_json(data: Mapping[str, Any]) -> errors.DeploydError:
    """The error again; a class that this version does not know becomes the plain one."""
    cls = getattr(errors, str(data["class"]), errors.DeploydError)
    if not (isinstance(cls, type) and issubclass(cls, errors.DeploydError)):
        cls = errors.DeploydError
    return cls(**data["fields"])
