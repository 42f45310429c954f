"""What a forge's delivery says, once it is checked and read: frozen values, the same for every forge."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Forge = Literal["github", "gitlab", "bitbucket", "bitbucket-server", "gitea", "generic"]
RefKind = Literal["branch", "tag"]
Action = Literal["opened", "updated", "closed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """A repository on its forge: `name` is `owner/shop`, as the forge's API wants it; `url` is its page, or None."""

    name: str
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One ref that a push moved. `after` None: the ref was deleted; `before` None: it is new.

    `files` are the paths that the payload names, relative to the repository; None when it names none, or not all, so
    that git must be asked. `message` is the head commit's, None when the payload does not have it.
    """

    kind: RefKind
    name: str
    before: str | None
    after: str | None
    forced: bool = False
    files: tuple[str, ...] | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """Refs that moved; a Bitbucket push may name several, the others name one."""

    forge: Forge
    delivery: str
    repository: Repository
    changes: tuple[Change, ...]
    who: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """A pull request (a merge request, on GitLab) that was opened, got new commits, or was closed.

    `ref` is what to fetch its head by; `fork` says that the head is in another repository. `commit` may be short. `at`
    is when it was changed last, in Unix seconds by the forge's clock; None when the payload does not say.
    """

    forge: Forge
    delivery: str
    repository: Repository
    number: int
    action: Action
    title: str
    url: str | None
    branch: str
    base: str
    commit: str
    ref: str
    fork: bool
    who: str
    message: str | None = None
    at: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """The forge tries whether the address answers."""

    forge: Forge
    delivery: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ignored:
    """A checked delivery that starts nothing, and why."""

    forge: Forge
    delivery: str
    reason: str


Delivered = Push | PullRequest | Ping | Ignored


def to_json(delivered: Delivered) -> dict[str, Any]:
    """As the store keeps it: the class's name in `is`, and its fields. Nothing else of the payload is kept."""
    return {"is": type(delivered).__name__, **asdict(delivered)}


def from_json(kept: dict[str, Any]) -> Delivered:
    """What `to_json` wrote."""
    fields = dict(kept)
    match fields.pop("is"):
        case "Push":
            changes = tuple(_change(change) for change in fields.pop("changes"))
            return Push(repository=Repository(**fields.pop("repository")), changes=changes, **fields)
        case "PullRequest":
            return PullRequest(repository=Repository(**fields.pop("repository")), **fields)
        case "Ping":
            return Ping(**fields)
        case _:
            return Ignored(**fields)


def _change(kept: dict[str, Any]) -> Change:
    files = kept["files"]
    return Change(**(kept | {"files": None if files is None else tuple(files)}))
