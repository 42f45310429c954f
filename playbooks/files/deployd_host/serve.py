"""Lines with verbs come in, a line with each one's reply goes out: many verbs in one process."""

from __future__ import annotations

import os

from deployd_host.calls import done, parse
from deployd_host.documents import Fields, document
from deployd_host.holding import Held
from deployd_host.paths import MAX_DOCUMENT, SELF
from deployd_host.replies import RefusedError, bad_request, refusal, say
from deployd_host.verbs import VERBS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from deployd_host.calls import Call
    from deployd_host.replies import Json


def verb_serve(_call: Call) -> int:
    """Do many verbs in one process: a line `{"argv": [...], "stdin": {...}|null}` in, a line `{"exit", "reply"}` out.

    Starting Python twice and sudo for each verb costs more than the verbs do. `hold` takes the app for this process,
    until `let-go` or its end. Once another helper is installed, this process ends at the next line instead of doing it.
    """
    rest, own = b"", os.path.realpath(SELF)
    held: list[Held] = []
    try:
        while chunk := _more():
            *lines, rest = (rest + chunk).split(b"\n")
            if len(rest) > MAX_DOCUMENT:
                raise bad_request("a line is too long")
            for line in lines:
                if not held and os.path.realpath(SELF) != own:
                    return 0
                code, reply = _serve_one(line, held)
                say({"exit": code, "reply": reply})
    finally:
        for one in held:
            one.let_go()
    return 0


def _more() -> bytes:
    """What comes next on stdin; b"" when nothing more comes, or nobody listens any more."""
    import select

    poll = select.poll()
    poll.register(0, select.POLLIN)
    poll.register(1, 0)
    ready = dict(poll.poll())
    return os.read(0, 1 << 20) if ready.get(0) and 1 not in ready else b""


def _serve_one(line: bytes, held: list[Held]) -> tuple[int, Json]:
    live: str | None = None
    try:
        fields = Fields(document(line))
        words = fields.get("argv")
        if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
            raise bad_request("'argv' is not a list of words")
        if words == ["let-go"]:
            while held:
                held.pop().let_go()
            return 0, {"ok": True}
        verb = VERBS.get(words[0])
        if verb is None or verb.local or (verb.streams and words[0] != "hold"):
            raise bad_request(f"{words[0]!r} cannot be called here")
        call = parse(verb, words[1:])
        if words[0] == "hold":
            held.append(Held(call, fields.get("stdin")))
            return 0, {"ok": True, **held[-1].reply}
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
