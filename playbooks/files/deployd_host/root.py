"""As root, one verb's words come in, and its reply goes out."""

from __future__ import annotations

from deployd_host.calls import done, parse
from deployd_host.replies import RefusedError, bad_request, say, tell
from deployd_host.verbs import VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def root_half(words: Sequence[str], *, from_key: bool) -> int:
    """Do one verb and write its reply; returns the exit code."""
    verb = VERBS.get(words[0]) if words else None
    if verb is None or (verb.local and from_key):
        return tell(bad_request(f"{words[0] if words else ''!r} is not a verb of this helper"), live=None)
    try:
        call = parse(verb, words[1:])
    except RefusedError as error:
        return tell(error, live=None)
    if from_key and not verb.passes_command:
        from deployd_host.priority import yield_processor

        yield_processor()
    try:
        if verb.document:
            from deployd_host.documents import read_document

            call.document = read_document()
        reply = done(words[0], call)
    except RefusedError as error:
        return tell(error, live=call.place.live() if call.place.app else None)
    if isinstance(reply, int):
        return reply
    say({"ok": True, **reply})
    return 0
