"""What requests bring: ids that are parsed before anything uses them, and bodies that know every field."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from deployd.domain.daemon import Scope
from deployd.domain.ids import AppName, EnvironmentName, HostName, ReleaseId, RolloutId

App = Annotated[
    str,
    StringConstraints(pattern=f"^(?:{AppName.pattern.pattern})$", max_length=30),
    AfterValidator(AppName.parse),
]
Environment = Annotated[
    str,
    StringConstraints(pattern=f"^(?:{EnvironmentName.pattern.pattern})$", max_length=16),
    AfterValidator(EnvironmentName.parse),
]
HostId = Annotated[
    str,
    StringConstraints(pattern=f"^(?:{HostName.pattern.pattern})$", max_length=63),
    AfterValidator(HostName.parse),
]
Release = Annotated[
    str,
    StringConstraints(pattern=f"^(?:{ReleaseId.pattern.pattern})$", max_length=40),
    AfterValidator(ReleaseId.parse),
]
Rollout = Annotated[
    str,
    StringConstraints(pattern=f"^(?:{RolloutId.pattern.pattern})$", max_length=40),
    AfterValidator(RolloutId.parse),
]
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
Ref = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f-][^\x00-\x1f\x7f]*$", max_length=250)]
Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}(?:[0-9a-f]{24})?$")]
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=1000)]
Count = Annotated[int, Field(ge=1, le=500)]


class Body(BaseModel):
    """A body; a field that it does not know is refused."""

    model_config = ConfigDict(extra="forbid")


class ReleaseAsk(Body):
    """Release a commit of the registered app's repository."""

    app: App
    environment: Environment = "production"
    ref: Ref | None = None
    commit: Commit | None = None
    activate: bool = True
    confirm_within: Annotated[float, Field(gt=0, le=30 * 86400)] | None = None
    during_freeze: bool = False
    message: Text | None = None
    key: Text | None = None


class RollbackAsk(Body):
    """Go back: to a release, or to the last one that was live and good."""

    app: App
    environment: Environment = "production"
    release: Release | None = None
    key: Text | None = None


class PromoteAsk(Body):
    """Bring a release's artifact live in another environment."""

    app: App
    environment: Environment
    release: Release
    activate: bool = True
    confirm_within: Annotated[float, Field(gt=0, le=30 * 86400)] | None = None
    during_freeze: bool = False
    message: Text | None = None
    key: Text | None = None


class FinishAsk(Body):
    """Bring the release that some visitors have live for everybody."""

    app: App
    environment: Environment = "production"
    release: Release
    confirm_within: Annotated[float, Field(gt=0, le=30 * 86400)] | None = None
    during_freeze: bool = False
    message: Text | None = None


class WishAsk(Body):
    """A whole wish, as the command line on this machine makes it from the checkout."""

    wish: dict[str, Any]


class PlaceBody(Body):
    """An app and environment."""

    app: App
    environment: Environment = "production"


class AppBody(Body):
    """Where a registered app comes from."""

    repository: Annotated[
        str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[^\x00-\x20\x7f-][^\x00-\x1f\x7f]*$")
    ]
    subdir: Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""


class VariableBody(Body):
    """A variable's value, which never comes back: for the server, for the build, or for both."""

    value: Annotated[str, StringConstraints(max_length=100_000, pattern=r"^[^\x00]*$")]
    build: bool = False
    both: bool = False


class HostBody(Body):
    """A server, with the key that it was seen to have."""

    address: Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[A-Za-z0-9._:\[\]-]+$")]
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    admin_user: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_.-]*$", max_length=32)] = "root"
    identity: Text | None = None
    host_key: Annotated[str, StringConstraints(pattern=r"^[a-z0-9@.-]+ [A-Za-z0-9+/=]+$", max_length=2000)]


class TokenBody(Body):
    """A token to make; `apps` empty means every app."""

    scope: Scope
    apps: Annotated[list[App], Field(max_length=100)] = []
    expires_in: Annotated[float, Field(gt=0, le=10 * 365 * 86400)] | None = None
    note: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")] | None = None


class MarkBody(Body):
    """What to say of a release."""

    mark: Literal["good", "bad"]


class PinBody(Body):
    """Which release an environment is pinned to; only named, nothing is flipped."""

    release: Release | None = None


class HostsBody(Body):
    """Which hosts; empty means those of the last rollout."""

    hosts: Annotated[list[HostId], Field(max_length=500)] = []
