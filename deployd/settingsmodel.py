"""The settings' declaration: type, default, meaning and example of each, read by pydantic-settings.

Apart from settings.py because pydantic's import takes 0.2 s, and most commands need no setting at all.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import TYPE_CHECKING, Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from deployd.domain.quantity import parse_duration

if TYPE_CHECKING:
    from pydantic_settings import PydanticBaseSettingsSource


class Settings(BaseSettings):
    """Every setting; `DEPLOYD_<NAME>` wins over the file."""

    model_config = SettingsConfigDict(env_prefix="DEPLOYD_", extra="ignore", frozen=True)

    state_dir: Path | None = Field(
        default=None,
        description="The folder with everything that deployd keeps. Without it: /var/lib/deployd as root, otherwise $XDG_STATE_HOME/deployd.",  # noqa: E501 - one sentence
        examples=['"/var/lib/deployd"'],
    )
    who: str | None = Field(
        default=None,
        description="The name that is written beside what is done. Without it: the login name.",
        examples=['"ci"'],
        min_length=1,
        max_length=100,
    )
    timeout: float | None = Field(
        default=None,
        description="How long a whole rollout may take when --timeout is not given. Without it: no limit but those of its stages.",  # noqa: E501 - one sentence
        examples=['"45m"'],
    )
    url: str | None = Field(
        default=None,
        description="The daemon's address. Without it: this machine's own state folder is used.",
        examples=['"https://deployd.example"'],
    )
    token: SecretStr | None = Field(
        default=None,
        description="The token for the daemon at `url`. Better in DEPLOYD_TOKEN than in a file.",
        examples=['"..."'],
    )

    @field_validator("timeout", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        return parse_duration(value) if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables win over what the file said (which comes in as arguments)."""
        del settings_cls, dotenv_settings, file_secret_settings
        return env_settings, init_settings
