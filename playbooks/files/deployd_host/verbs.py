"""The name of a verb comes in, its words, its options and where its function is go out."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from deployd_host.calls import Call
    from deployd_host.replies import Json


class Verb:
    """A verb: the module that does it, its words in order, its options, and whether it reads a document.

    A module is imported when its verb is called: each call pays for what it needs.
    """

    __slots__ = ("document", "local", "module", "options", "passes_command", "streams", "words")

    def __init__(
        self,
        module: str,
        words: str = "",
        *,
        options: Mapping[str, str | None] | None = None,
        document: bool = False,
        local: bool = False,
        streams: bool = False,
        passes_command: bool = False,
    ) -> None:
        self.module = module
        self.words = words.split()
        self.options = options or {}
        self.document = document
        self.local = local
        self.streams = streams
        self.passes_command = passes_command


_APP = "app environment"
_RELEASE = "app environment release"
VERBS = {
    "facts": Verb("facts"),
    "runtime-begin": Verb("runtimes", "runtime"),
    "runtime-seal": Verb("runtimes", "runtime", document=True),
    "hold": Verb("holding", _APP, options={"--wait": "seconds"}, streams=True),
    "holder": Verb("holding", _APP),
    "unlock": Verb("holding", _APP),
    "configure": Verb("configuration", _APP, options={"--check": None}, document=True),
    "certificate": Verb("certificates", _APP, document=True),
    "answer": Verb("certificates", "token", document=True),
    "served": Verb("certificates", _APP),
    "begin": Verb("incoming", _RELEASE, document=True),
    "seal": Verb("sealing", _RELEASE, document=True),
    "manifest": Verb("giving", _RELEASE),
    "contents": Verb("giving", _RELEASE, document=True, streams=True),
    "env": Verb("variables", _RELEASE, document=True),
    "start": Verb("instances", _RELEASE),
    "probe": Verb("probes", _RELEASE, document=True),
    "probe-web": Verb("probes", _RELEASE, document=True),
    "flip": Verb("flips", _RELEASE, options={"--expect": "release or none", "--epoch": "number"}),
    "unflip": Verb("flips", _APP, options={"--to": "release or none", "--epoch": "number"}),
    "stop": Verb("instances", _RELEASE, options={"--after": "seconds"}),
    "restart": Verb("instances", _APP),
    "maintenance": Verb("doors", _APP, document=True),
    "share": Verb("shares", _APP, document=True),
    "canary": Verb("doors", _APP, document=True),
    "drain": Verb("drains", document=True),
    "status": Verb("status", _APP),
    "prune": Verb("retention", _APP, document=True),
    "discard": Verb("retention", _RELEASE),
    "logs": Verb(
        "logs", _APP, options={"--release": "release", "-n": "number", "--since": "since", "-f": None}, streams=True
    ),
    "exec": Verb(
        "commands", _APP, options={"--release": "release", "--limit": "seconds"}, streams=True, passes_command=True
    ),
    "traffic": Verb(
        "traffic", _APP, options={"--since": "since", "--until": "since", "--step": "number", "--skip-first": None}
    ),
    "remove-app": Verb("removal", _APP),
    "serve": Verb("serve", streams=True),
    "boot": Verb("boot", local=True),
    "web-setup": Verb("web", local=True),
}


def function_of(name: str) -> Callable[[Call], Json | int]:
    """The function that does a verb: `verb_runtime_begin` of runtimes.py for `runtime-begin`."""
    module = __import__(f"deployd_host.{VERBS[name].module}", fromlist=["*"])
    function: Callable[[Call], Json | int] = getattr(module, "verb_" + name.replace("-", "_"))
    return function
