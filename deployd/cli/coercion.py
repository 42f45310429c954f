"""Turns the text of options into values without pydantic, which typer 0.29 imports for it: 0.12 s of each command.

Reaches into typer's parameters where they have what it looks for, and otherwise leaves them alone; a test sees to it
that no command loads pydantic.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import typer

if TYPE_CHECKING:
    from collections.abc import Callable


def lighten(params: list[Any]) -> list[Any]:
    """Give each parameter of a plain type (text, number, flag, path, or a list of them) a converter of ours."""
    for param in params:
        descriptor = getattr(param, "type_descriptor", None)
        if descriptor is None or not hasattr(param, "_runtime_param"):
            continue
        annotation = descriptor.annotation
        if get_origin(annotation) is list:
            (annotation,) = get_args(annotation)
        if annotation in _CONVERTERS:
            info = descriptor.parameter_info
            param._runtime_param = _Plain(  # noqa: SLF001 - there is no other door
                convert=_CONVERTERS[annotation], low=info.min, high=info.max
            )
    return params


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plain:
    """What typer calls to convert a value."""

    convert: Callable[[Any], Any]
    low: float | None
    high: float | None

    def coerce(self, value: Any, *, param: Any, ctx: Any) -> Any:
        many = param.multiple or param.nargs == -1
        if value is None:
            return () if many else None
        try:
            converted = [self._one(item) for item in value] if many else self._one(value)
        except ValueError as error:
            raise typer.BadParameter(str(error), ctx=ctx, param=param) from error
        return converted

    def _one(self, value: Any) -> Any:
        found = self.convert(value)
        if self.low is not None and found < self.low:
            msg = f"{value} is below {self.low}"
            raise ValueError(msg)
        if self.high is not None and found > self.high:
            msg = f"{value} is above {self.high}"
            raise ValueError(msg)
        return found


def _whole(value: Any) -> int:
    try:
        return int(value)
    except ValueError:
        msg = f"{value!r} is not a whole number"
        raise ValueError(msg) from None


def _flag(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() in {"1", "true", "yes", "on"}:
        return True
    if str(value).lower() in {"0", "false", "no", "off", ""}:
        return False
    msg = f"{value!r} is not yes or no"
    raise ValueError(msg)


def _path(value: Any) -> Path:
    if not str(value):  # an unset variable in a script: it would be the current folder
        msg = "it is empty"
        raise ValueError(msg)
    return Path(value)


_CONVERTERS: dict[Any, Callable[[Any], Any]] = {str: str, Path: _path, int: _whole, float: float, bool: _flag}
