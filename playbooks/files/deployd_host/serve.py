"""Lines with verbs come in, a line with each one's reply goes out: many verbs in one process."""

from __future__ import annotations

import os

from deployd_host.calls import done, parse
from deployd_host.documents import Fields, document
from deployd_host.paths import MAX_DOCUMENT
from deployd_host.replies import RefusedError, bad_request, refusal, say
from deployd_host.verbs import VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.calls import Call
    from deployd_host.replies import Json


def verb_serve(_call: Call) -> int:
    """Do many verbs in one process: a line `{"argv": [...], "stdin": {...}|null}` in, a line `{"exit", "reply"}` out.

    Starting Python twice and sudo for each verb costs more than the verbs do.
    """
    rest = b""
    while chunk := os.read(0, 1 << 20):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_DOCUMENT:
            raise bad_request("a line is too long")
        for line in lines:
            code, reply = _serve_one(line)
            say({"exit": code, "reply": reply})
    return 0


def _serve_one(line: bytes) -> tuple[int, Json]:
    live: str | None = None
    try:
        fields = Fields(document(line))
        words = fields.get("argv")
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise bad_request("'argv' is not a list of words")
        verb = VERBS.get(words[0])
        if verb is None or verb.local or verb.streams:
            raise bad_request(f"{words[0]!r} cannot be called here")
        call = parse(verb, words[1:])
        if verb.document:
            call.document = Fields(fields.get("stdin")).value
        fields.get("stdin")
        fields.finish()
        try:
            reply = done(words[0], call)
        except RefusedError:
            live = call.place.live() if call.place.app else None
            raise
    except RefusedError as error:
        return error.exit_code, refusal(error, live=live)
    return (reply, {}) if isinstance(reply, int) else (0, {"ok": True, **reply})
