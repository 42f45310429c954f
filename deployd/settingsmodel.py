"""The settings' declaration: type, default, meaning and example of each, read by pydantic-settings.

Apart from settings.py because pydantic's import takes 0.2 s, and most commands need no setting at all.
"""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads the annotations
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from deployd.domain.quantity import parse_duration, parse_size

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
        description="How long a whole rollout may take when --timeout is not given. Without it: 2h for what the daemon runs, otherwise no limit but those of its stages.",  # noqa: E501 - one sentence
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

    database_url: SecretStr | None = Field(
        default=None,
        description="The PostgreSQL database that several daemons share. Without it: SQLite in the state folder. With a password, better in DEPLOYD_DATABASE_URL than in a file.",  # noqa: E501 - three sentences
        examples=['"postgresql://deployd:...@db.example:5432/deployd"'],
    )
    artifact_store: str | None = Field(
        default=None,
        description="The S3-compatible store through which several daemons share artifacts; its keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Without it: another daemon fetches what it lacks back from a host.",  # noqa: E501 - two sentences
        examples=['"s3://bucket/deployd"'],
        pattern="^s3://[a-z0-9][a-z0-9.-]+(/[^?#]*)?$",
    )
    artifact_store_endpoint: str | None = Field(
        default=None,
        description="The address of `artifact_store`, when it is not Amazon's.",
        examples=['"https://s3.example"'],
        pattern="^https?://[^/]+/?$",
    )
    artifact_store_region: str | None = Field(
        default=None, description="The region of `artifact_store`.", examples=['"eu-central-1"']
    )

    assets_access_key_id: SecretStr | None = Field(
        default=None,
        description="The access key's id for the buckets of apps' `assets`, where an environment has no variable of that name (DEPLOYD_ASSETS_ACCESS_KEY_ID). Without it: AWS_ACCESS_KEY_ID.",  # noqa: E501 - two sentences
        examples=['"..."'],
    )
    assets_secret_access_key: SecretStr | None = Field(
        default=None,
        description="Its secret. Better in DEPLOYD_ASSETS_SECRET_ACCESS_KEY than in a file. Without it: AWS_SECRET_ACCESS_KEY.",  # noqa: E501 - three sentences
        examples=['"..."'],
    )

    listen: str | None = Field(
        default=None,
        description="Where the daemon listens for https besides its unix socket. Without it: nowhere.",
        examples=['"0.0.0.0:8300"'],
    )
    tls_certificate: Path | None = Field(
        default=None,
        description="The certificate (with its chain) for `listen`. Without it: http, for a proxy on this machine.",
        examples=['"/etc/deployd/tls.crt"'],
    )
    tls_key: Path | None = Field(
        default=None, description="The certificate's key.", examples=['"/etc/deployd/tls.key"']
    )
    proxy: str | None = Field(
        default=None,
        description="The address of a proxy in front of `listen`: the last entry of its X-Forwarded-For says where a request comes from.",  # noqa: E501 - one sentence
        examples=['"127.0.0.1"'],
        pattern="^[0-9a-fA-F.:]+$",
    )
    socket: Path | None = Field(
        default=None,
        description="A second unix socket of the daemon, for the group: the one in the state folder is for its owner.",
        examples=['"/run/deployd-control/deployd.sock"'],
    )
    group: str = Field(
        default="deployd",
        description="Members of this group may do everything over the daemon's unix socket, as root may.",
        examples=['"deployd"'],
    )
    public_url: str | None = Field(
        default=None,
        description="The address at which forges and people reach this daemon: webhooks and links are made of it.",
        examples=['"https://deployd.example"'],
        pattern="^https?://[^/]+[^?#]*$",
    )
    preview_domain: str | None = Field(
        default=None,
        description="The domain below which every release has its own name, `<release>.<app>.<preview_domain>`: previews of pull requests are there, unless the app's deployd.toml names another.",  # noqa: E501 - one sentence
        examples=['"preview.example"'],
    )
    acme_dns: str | None = Field(
        default=None,
        description="The command that proves wildcard names to an authority: it is called as `COMMAND set NAME VALUE`, comes back once the TXT record can be seen, and later as `COMMAND remove NAME VALUE`.",  # noqa: E501 - one sentence
        examples=['"/etc/deployd/dns"'],
    )
    rollouts: int = Field(
        default=4,
        description="How many releases the daemon runs at once, each of another app or environment. Rollbacks are not counted.",  # noqa: E501 - two sentences
        examples=["4"],
        ge=1,
        le=8,
    )
    builds: int = Field(default=1, description="How many builds the daemon runs at once.", examples=["2"], ge=1, le=8)
    stop_grace: float = Field(
        default=30.0,
        description="How long a daemon that is told to stop waits for what runs. The next start goes on with the rest.",
        examples=['"30s"'],
        ge=0,
    )

    traffic_interval: float = Field(
        default=20.0,
        description="How often the hosts are asked what visitors did since the last time.",
        examples=['"20s"'],
        ge=1,
    )
    traffic_keep: float = Field(
        default=30 * 86400.0,
        description="How long it is kept what visitors did: by the minute for a day, then by the hour.",
        examples=['"30d"'],
        ge=3600,
    )
    build_sandbox: Literal["on", "off"] | None = Field(
        default=None,
        description="Whether what an app's packages and build run is contained (by bubblewrap, and as another user when deployd is root). Without it: on, and builds are refused where that cannot be.",  # noqa: E501 - one sentence
        examples=['"on"'],
    )
    cache_size: int | None = Field(
        default=None,
        description="How much builds may keep for the next ones, of all apps together; what was used least recently goes first. Without it: 20G.",  # noqa: E501 - one sentence
        examples=['"20G"'],
        ge=0,
    )

    @field_validator("cache_size", mode="before")
    @classmethod
    def _size(cls, value: Any) -> Any:
        return parse_size(value) if isinstance(value, str) else value

    @field_validator("timeout", "stop_grace", "traffic_interval", "traffic_keep", mode="before")
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
