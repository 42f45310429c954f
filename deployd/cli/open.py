"""`deployd open`: the address of the app, a release, a branch or a pull request, in a browser or on the screen."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from deployd.cli.verbs import verb
from deployd.domain.addresses import branch_label, preview_url
from deployd.errors import CommandError, ConfigError, NotFoundError, UsageError

if TYPE_CHECKING:
    from deployd.cli.context import Cli


@verb(example="deployd open --release k2x7")
def open_(
    cli: Cli,
    *,
    release: Annotated[
        str | None, typer.Option("--release", metavar="ID", help="This release, at its own address.")
    ] = None,
    branch: Annotated[
        str | None, typer.Option("--branch", metavar="NAME", help="The newest release of this branch.")
    ] = None,
    pull: Annotated[
        int | None, typer.Option("--pull", metavar="NUMBER", min=1, help="The newest release of this pull request.")
    ] = None,
) -> None:
    """Open the app in a browser, or print its address where there is none.

    A name that this machine cannot look up, as in the lab, is printed as a curl command that finds it all the same.
    """
    if sum(one is not None for one in (release, branch, pull)) > 1:
        raise UsageError("--release, --branch and --pull exclude one another", code="usage", fix="name one of them")
    label = label_of(cli, release=release, branch=f"pull/{pull}" if pull else branch)
    url = _live(cli) if label is None else require_address(cli, label)
    curl = None if _is_known(url) else _by_hand(cli, url)
    if cli.options.json:
        cli.out.document({"url": url, "curl": curl})
        return
    cli.out.line(curl or url)
    if curl or not cli.out.is_terminal:
        return
    import webbrowser

    try:
        webbrowser.open(url)
    except webbrowser.Error as error:
        raise CommandError(
            f"no browser could be started: {error}", code="command-missing", fix=f"open {url} yourself"
        ) from error


def address_of(cli: Cli, label: str) -> str | None:
    """A release's own address, as the app's file has it; None where there is no file, or no `preview_domain` in it."""
    try:
        return preview_url(cli.app_environment.options.run, label, app=cli.app.name)
    except (UsageError, ConfigError, NotFoundError):
        return None


def require_address(cli: Cli, label: str) -> str:
    """The same; raises UsageError."""
    url = preview_url(cli.app_environment.options.run, label, app=cli.app.name)
    if url is None:
        raise UsageError(
            f"releases of {cli.app.name} have no addresses of their own in {cli.environment}",
            code="preview-domain-missing",
            fix=f'add preview_domain = "preview.example.com" to [environments.{cli.environment}], and release again',
        )
    return url


def label_of(cli: Cli, *, release: str | None, branch: str | None) -> str | None:
    """The first word of the address; None when neither is named. Raises UsageError for a branch that has none."""
    if release is not None:
        return str(cli.release_id(release))
    if branch is None:
        return None
    label = branch_label(branch)
    if label is None:
        raise UsageError(
            f"the branch {branch!r} has no address: its name has no letters, or looks like another address",
            code="branch-without-address",
            fix="open its release instead: deployd open --release ID",
        )
    return label


def _live(cli: Cli) -> str:
    app, environment = cli.where
    found = cli.client.status(app, environment, cli.hosts())
    url = next((host.url for host in found.hosts if host.url and host.release), None)
    if url is None:
        raise NotFoundError(f"{app} is not live in {environment}", code="not-live", fix="release it: deployd release")
    return url


def _is_known(url: str) -> bool:
    try:
        socket.getaddrinfo(urlsplit(url).hostname, None)
    except (OSError, UnicodeError):
        return False
    return True


def _by_hand(cli: Cli, url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    address = cli.client.host(cli.hosts()[0]).address
    address = f"[{address}]" if ":" in address else address
    trusting = "--insecure " if parts.scheme == "https" and cli.app_environment.options.run.tls == "internal" else ""
    return f"curl {trusting}--resolve {parts.hostname}:{port}:{address} {url}/"
