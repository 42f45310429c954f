"""The example app's artifact, laid out as on a host and started there: pages, images, assets, actions."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.shop import Made, Served, Shop, running

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def served(shop: Shop, made: Made, tree: Path) -> Iterator[Served]:
    away = Path(made.output.app_dir)
    if away.is_dir():
        away.rename(away.with_name("away"))  # nothing of the build's own tree may be needed
    node = shop.state / "runtimes" / f"node-{made.plan.node}-linux-x64-glibc" / "bin" / "node"
    with running(tree, entry=made.manifest.entry, node=node, log=tree.parent / "server.log") as found:
        yield found


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/", "Fresh from a commit"),
        ("/dynamic", "from the environment"),
        ("/fresh", "Never old"),
        ("/action", "Press it"),
        ("/picture", "A picture"),
        ("/release", "20261121-101530-3fa9c01-k2x7"),
        ("/api/hello?name=deployd", '"hello":"deployd"'),
        ("/health", "ok"),
        ("/robots.txt", "User-agent"),
    ],
)
def test_every_page_answers(served: Served, path: str, text: str) -> None:
    status, body, _ = served.ask(path)
    assert status == 200
    assert text in body


def test_a_page_that_is_not_there_is_404(served: Served) -> None:
    assert served.ask("/nothing")[0] == 404


def test_an_image_is_made_smaller_and_kept_in_the_writable_place(served: Served, tree: Path) -> None:
    page = served.ask("/picture")[1]
    address = re.search(r'/_next/image\?url=[^"\s]+', page)
    assert address
    status, _, headers = served.ask(address[0].replace("&amp;", "&"), headers={"Accept": "image/webp"})
    assert (status, headers["content-type"]) == (200, "image/webp")
    assert list((tree.parent / "writable" / "cache").rglob("*.webp"))


def test_assets_are_as_the_page_names_them(served: Served, tree: Path) -> None:
    addresses = set(re.findall(r'/_next/static/[^"?\\]+', served.ask("/")[1]))
    assert addresses
    for address in addresses:
        assert served.ask(address)[0] == 200
        assert (tree / ".next" / address.removeprefix("/_next/")).is_file()


def test_a_server_action_answers(served: Served) -> None:
    page = served.ask("/action")[1]
    action = re.search(r'name="(\$ACTION_ID_[0-9a-f]+)"', page)
    assert action
    body = f'--x\r\nContent-Disposition: form-data; name="{action[1]}"\r\n\r\n\r\n--x--\r\n'.encode()
    status, _, headers = served.ask(
        "/action", method="POST", body=body,
        headers={"Content-Type": "multipart/form-data; boundary=x", "Origin": f"http://127.0.0.1:{served.port}",
                 "Host": f"127.0.0.1:{served.port}"},
    )  # fmt: skip
    assert status in (200, 303)
    assert "times=1" in headers["set-cookie"]


def test_an_old_page_is_made_again_in_the_writable_place(served: Served, tree: Path) -> None:
    def moment() -> str:
        found = re.search(r"<time>([^<]+)</time>", served.ask("/fresh")[1])
        assert found
        return found[1]

    built = (tree / ".next" / "server" / "app" / "fresh.html").read_text()
    first = moment()
    deadline = time.monotonic() + 60
    while moment() == first and time.monotonic() < deadline:
        time.sleep(0.5)
    assert moment() != first
    assert list((tree.parent / "writable" / "route-cache").rglob("fresh.html"))
    assert (tree / ".next" / "server" / "app" / "fresh.html").read_text() == built
    log = (tree.parent / "server.log").read_text()
    assert "Failed to update prerender cache" not in log
    assert "EACCES" not in log
