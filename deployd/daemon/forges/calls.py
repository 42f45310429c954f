"""What is said to a forge, as values: a commit's state, a comment or a question comes in, HTTP calls go out. Pure.

Paths are below the API's address; the token is added where the call is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

State = Literal["running", "live", "prepared", "failed", "stopped"]

ADDRESSES = {
    "github": "https://api.github.com",
    "gitlab": "https://gitlab.com/api/v4",
    "bitbucket": "https://api.bitbucket.org/2.0",
    "bitbucket-server": None,
    "gitea": None,
}
"""The API of each forge's own service; None: there is none, so an address must be given."""

_LONGEST = 140  # of a description, at GitHub
_LONGEST_KEY = 40  # at Bitbucket
_STATES: dict[str, dict[State, str]] = {
    "github": {"running": "pending", "live": "success", "prepared": "success", "failed": "failure", "stopped": "error"},
    "gitlab": {
        "running": "running",
        "live": "success",
        "prepared": "success",
        "failed": "failed",
        "stopped": "canceled",
    },
    "bitbucket": {
        "running": "INPROGRESS",
        "live": "SUCCESSFUL",
        "prepared": "SUCCESSFUL",
        "failed": "FAILED",
        "stopped": "STOPPED",
    },
    "bitbucket-server": {
        "running": "INPROGRESS",
        "live": "SUCCESSFUL",
        "prepared": "SUCCESSFUL",
        "failed": "FAILED",
        "stopped": "CANCELLED",
    },
}
_DEPLOYMENT: dict[State, str] = {
    "running": "in_progress",
    "live": "success",
    "prepared": "success",
    "failed": "failure",
    "stopped": "inactive",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: `path` is below the API's address, `body` is JSON."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a commit stands in one environment. `url` is where it can be seen, `log_url` where it is told how it went."""

    app: str
    environment: str
    repository: str
    commit: str
    state: State
    text: str
    url: str | None = None
    log_url: str | None = None


def headers(forge: str, token: str) -> dict[str, str]:
    """What each call carries."""
    common = {"Accept": "application/json", "User-Agent": "deployd"}
    match forge:
        case "github":
            return common | {
                "Accept": "application/vnd.github+json",
                "Authorization": f"Bearer {token}",
                "X-GitHub-Api-Version": "2022-11-28",
            }
        case "gitlab":
            return common | {"PRIVATE-TOKEN": token}
        case "gitea":
            return common | {"Authorization": f"token {token}"}
        case _:
            return common | {"Authorization": f"Bearer {token}"}


def _where(standing: Standing) -> str | None:
    """Who clicks wants to see the site once it is there, and how it goes before that or when it failed."""
    there = standing.url if standing.state in {"live", "prepared"} else None
    return there or standing.log_url or standing.url


def status(forge: str, standing: Standing) -> Call:
    """The commit's status."""
    name = f"deployd/{standing.app}/{standing.environment}"
    link = _where(standing)
    text = standing.text[:_LONGEST]
    states = _STATES.get(forge, _STATES["github"])
    where, commit = _repository(forge, standing.repository), quote(standing.commit, safe="")
    match forge:
        case "gitlab":
            body = {"state": states[standing.state], "name": name, "target_url": link, "description": text}
            return Call(method="POST", path=f"{where}/statuses/{commit}", body=_given(body))
        case "bitbucket" | "bitbucket-server":
            # both want an address, and a key of at most 40 characters
            body = {
                "key": name[-_LONGEST_KEY:],
                "name": name,
                "state": states[standing.state],
                "url": link or standing_page(standing),
                "description": text,
            }
            tail = "commit/{}/statuses/build" if forge == "bitbucket" else "commits/{}/builds"
            return Call(method="POST", path=f"{where}/{tail.format(commit)}", body=body)
        case _:
            body = {"state": states[standing.state], "context": name, "target_url": link, "description": text}
            return Call(method="POST", path=f"{where}/statuses/{commit}", body=_given(body))


def standing_page(standing: Standing) -> str:
    """An address for a forge that wants one where there is none."""
    return f"https://deployd.invalid/{quote(standing.app)}/{quote(standing.environment)}"


def deployment(standing: Standing) -> Call:
    """GitHub's deployment; its answer's `id` is what `deployment_status` needs."""
    body = {
        "ref": standing.commit,
        "environment": f"{standing.app}/{standing.environment}",
        "description": f"deployd: {standing.app} {standing.environment}",
        "auto_merge": False,
        "required_contexts": [],
        "transient_environment": standing.environment == "preview",
        "production_environment": standing.environment == "production",
    }
    return Call(method="POST", path=f"{_repository('github', standing.repository)}/deployments", body=body)


def deployment_status(standing: Standing, number: int) -> Call:
    """How GitHub's deployment goes."""
    body = {
        "state": _DEPLOYMENT[standing.state],
        "environment_url": standing.url if standing.state in {"live", "prepared"} else None,
        "log_url": standing.log_url,
        "description": standing.text[:_LONGEST],
    }
    path = f"{_repository('github', standing.repository)}/deployments/{number}/statuses"
    return Call(method="POST", path=path, body=_given(body))


def deployments(repository: str, *, environment: str, commit: str) -> Call:
    """The question for GitHub's deployments of a commit; the answer is a list."""
    query = f"environment={quote(environment, safe='')}&ref={quote(commit, safe='')}"
    return Call(method="GET", path=f"{_repository('github', repository)}/deployments?{query}")


def comment(
    forge: str, *, repository: str, number: int, text: str, known: str | None = None, version: int | None = None
) -> Call:
    """A comment under a pull request; `known` is the id of the one to write again.

    Bitbucket Server wants the `version` of the one that is written again: `comment_now` asks for it.
    """
    where = _repository(forge, repository)
    match forge:
        case "gitlab":
            path, body = f"{where}/merge_requests/{number}/notes", {"body": text}
        case "bitbucket":
            path, body = f"{where}/pullrequests/{number}/comments", {"content": {"raw": text}}  # type: ignore[dict-item]
        case "bitbucket-server":
            path = f"{where}/pull-requests/{number}/comments"
            body = {"text": text} if version is None else {"text": text, "version": version}  # type: ignore[dict-item]
        case _:
            if known:
                return Call(method="PATCH", path=f"{where}/issues/comments/{quote(known)}", body={"body": text})
            return Call(method="POST", path=f"{where}/issues/{number}/comments", body={"body": text})
    if known:
        return Call(method="PUT", path=f"{path}/{quote(known)}", body=body)
    return Call(method="POST", path=path, body=body)


def comment_now(forge: str, *, repository: str, number: int, known: str) -> Call | None:
    """The question for a comment as it is, where a change needs to know; None elsewhere."""
    if forge != "bitbucket-server":
        return None
    path = f"{_repository(forge, repository)}/pull-requests/{number}/comments/{quote(known)}"
    return Call(method="GET", path=path)


def pull(forge: str, *, repository: str, number: int) -> Call:
    """The question how a pull request stands; `is_open` reads the answer."""
    words = {"gitlab": "merge_requests", "bitbucket": "pullrequests", "bitbucket-server": "pull-requests"}
    return Call(method="GET", path=f"{_repository(forge, repository)}/{words.get(forge, 'pulls')}/{number}")


def is_open(answer: Mapping[str, Any]) -> bool:
    """Whether the pull request of an answer is open."""
    return str(answer.get("state")).lower() in {"open", "opened"}


def _repository(forge: str, name: str) -> str:
    match forge:
        case "gitlab":
            return f"projects/{quote(name, safe='')}"
        case "bitbucket":
            return f"repositories/{quote(name)}"
        case "bitbucket-server":
            project, _, slug = name.partition("/")
            return f"projects/{quote(project, safe='~')}/repos/{quote(slug, safe='')}"
        case _:
            return f"repos/{quote(name)}"


def _given(body: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in body.items() if value is not None}
