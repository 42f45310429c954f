"""A visitor's tab: a real Chromium; what it shows can be clicked, and what went wrong in it is kept."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response

_WAIT = 20_000  # milliseconds
_PROGRAM = "chromium-headless-shell"


@dataclass
class Tab:
    """One tab. `pages` are the documents that it loaded, `asked` is every request's release and path."""

    page: Page
    address: str
    troubles: list[str] = field(default_factory=list)
    pages: list[str] = field(default_factory=list)
    asked: list[tuple[str | None, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(_WAIT)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        self.page.on("requestfailed", self._failed)
        self.page.on("response", self._response)

    def open(self, path: str = "/") -> None:
        """Type an address."""
        self.page.goto(self.address + path)
        self.page.wait_for_load_state("networkidle")

    def click(self, link: str, *, shows: str) -> None:
        """Click on a link and wait for the page's heading."""
        self.page.click(f'nav a:text-is("{link}")')
        self.page.wait_for_selector(f'h1:has-text("{shows}")')
        self.page.wait_for_load_state("networkidle")

    def mark(self, name: str) -> None:
        """Leave something in the page that a reload takes away."""
        self.page.evaluate("name => { window.marked = name }", name)

    @property
    def marked(self) -> str | None:
        """What `mark` left; None after a reload."""
        return self.page.evaluate("() => window.marked ?? null")

    def text(self, selector: str) -> str:
        """What an element says."""
        return self.page.inner_text(selector)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.troubles.append(f"console: {message.text}")

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # a prefetch that is not needed any more
            self.troubles.append(f"failed: {request.url}: {request.failure}")

    def _response(self, response: Response) -> None:
        path = response.url.removeprefix(self.address)
        if not path.startswith("/_deployd/"):  # what a page tells of itself asks no release
            self.asked.append((response.headers.get("x-deployd-release"), path))
        if response.request.resource_type == "document":
            self.pages.append(path)
        if response.status >= 400:
            self.troubles.append(f"{response.status}: {response.url}")


@contextmanager
def chromium(names: Mapping[str, str] | None = None) -> Iterator[Browser]:
    """The system's Chromium, without a screen; `names` are addresses by name, instead of DNS."""
    program = shutil.which(_PROGRAM)
    assert program, f"{_PROGRAM} is not installed: run scripts/setup"
    rules = ", ".join(f"MAP {name} {address}" for name, address in (names or {}).items())
    resolving = [f"--host-resolver-rules={rules}"] if rules else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", *resolving]
        )
        try:
            yield browser
        finally:
            browser.close()
