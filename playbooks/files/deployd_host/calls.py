"""A verb's words come in, a checked Call goes out, and then what its function replies."""

from __future__ import annotations

import os

from deployd_host.places import Place
from deployd_host.replies import RefusedError, bad_request
from deployd_host.verbs import function_of
from deployd_host.words import checked

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from deployd_host.replies import Json
    from deployd_host.verbs import Verb


class Call:
    """One call of a verb, with all its words and options checked. A verb that has no app never asks for its place."""

    __slots__ = ("command", "document", "options", "place", "values")

    def __init__(
        self, values: Mapping[str, str], options: Mapping[str, str], command: Sequence[str], document: Json | None
    ) -> None:
        self.values = values
        self.options = options
        self.command = command
        self.document = document or {}
        self.place = Place(values.get("app", ""), values.get("environment", ""))

    @property
    def release(self) -> str:
        """The release that the call names."""
        return self.values["release"]

    def number(self, option: str) -> int:
        """A mandatory option that is a whole number."""
        if option not in self.options:
            raise bad_request(f"{option} is missing")
        return int(self.options[option])

    def release_or_none(self, option: str) -> str | None:
        """A mandatory option that is a release or `none`."""
        if option not in self.options:
            raise bad_request(f"{option} is missing")
        value = self.options[option]
        return None if value == "none" else value


def done(name: str, call: Call) -> Json | int:
    """The verb's reply; what the system refuses becomes an error that says so."""
    import errno

    from deployd_host.files import disk_full
    from deployd_host.reserve import SPENDING, make_room

    if name in SPENDING:
        make_room()
    try:
        return function_of(name)(call)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise disk_full(0) from error
        raise RefusedError(
            "host-failed",
            f"the host's system refused: {error}",
            fix="see the details; `deployd host check` looks for known causes",
            details=_where(error),
        ) from error


def _where(error: BaseException) -> str:
    """The innermost line of ours that failed: enough for a report, without a traceback."""
    trace = error.__traceback__
    ours, at = os.path.dirname(__file__), ("main.py", 0)
    while trace:
        folder, name = os.path.split(trace.tb_frame.f_code.co_filename)
        at = (name, trace.tb_lineno) if folder == ours else at
        trace = trace.tb_next
    return f"line {at[1]} of the helper's {at[0]}: {error!r}"


def parse(verb: Verb, words: Sequence[str]) -> Call:
    """Check every word and option of a call."""
    words = list(words)
    command: list[str] = []
    if verb.passes_command:
        if "--" not in words or words[-1] == "--":
            raise bad_request("the command is missing after `--`")
        command = words[words.index("--") + 1 :]
        words = words[: words.index("--")]
    if len(words) < len(verb.words):
        raise bad_request(f"this verb takes {' '.join(verb.words) or 'no words'}")
    values: dict[str, str] = {}
    for kind in verb.words:
        values[kind] = checked(kind, words.pop(0))
    options: dict[str, str] = {}
    while words:
        name = words.pop(0)
        if name not in verb.options or name in options:
            raise bad_request(f"{name!r} is not an option here")
        takes = verb.options[name]
        if takes and not words:
            raise bad_request(f"{name} needs a value")
        options[name] = checked(takes, words.pop(0)) if takes else ""
    return Call(values, options, command, None)
