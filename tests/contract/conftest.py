"""The fixtures of the contract tests: a host in a folder, a database, and a person's repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from deployd.domain.stages import SourceRequest, SourceTree
from deployd.hosts import helperfiles
from deployd.stages import source
from tests.contract.fakehost import SERVERS, FakeHost, TcpServer, answering
from tests.contract.realweb import RealWeb
from tests.support.postgres import Cluster
from tests.support.repositories import Repository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def tcp_server() -> Any:
    """Starts a web server on a free port of the loopback; returns the port."""
    return lambda **answer: answering(TcpServer, ("127.0.0.1", 0), **answer)[1]


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The helper as the playbook installs it: unpacked, compiled once, and a link that leads to it."""
    folder = tmp_path_factory.mktemp("library")
    version = helperfiles.pack(folder / "helper.tar")
    with tarfile.open(folder / "helper.tar") as archive:
        archive.extractall(folder, filter="fully_trusted")
    subprocess.run([sys.executable, "-IS", "-m", "compileall", "-q", str(folder / version)], check=True)
    (folder / "start").symlink_to(folder / version / helperfiles.ENTRY)
    return folder


@pytest.fixture
def host(tmp_path: Path, library: Path) -> Iterator[FakeHost]:
    if os.geteuid() != 0:
        pytest.skip("the helper's root half needs root")
    short = Path(f"/tmp/dh{os.getpid()}-{abs(hash(tmp_path)) % 10**8}")
    short.mkdir()
    made = FakeHost(short, library)
    yield made
    made.close()
    while SERVERS:
        server = SERVERS.pop()
        server.shutdown()
        server.server_close()
    shutil.rmtree(short)


@pytest.fixture
def configured(host: FakeHost) -> FakeHost:
    host.configure(instances=2, memory=None, drain=30, domains=[], port=80)
    return host


@pytest.fixture
def web(host: FakeHost) -> Iterator[RealWeb]:
    """The real web server on the host in a folder, with the app configured on a free port; not started."""
    made = RealWeb(host)
    host.configure(instances=1, memory=None, drain=30, domains=[], port=made.port)
    yield made
    made.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """One PostgreSQL for all tests, started when the first one asks."""
    made = Cluster()
    yield made
    made.close()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path / "shop")
    made.commit("first", page="one\n")
    made.commit("second", page="two\n")
    return made


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SourceTree]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    numbers = iter(range(1000))

    def do(repository: Repository | str, ref: str = "HEAD", **more: Any) -> SourceTree:
        place = str(repository.path) if isinstance(repository, Repository) else repository
        report = more.pop("report", lambda _event, **_fields: None)
        return source.checkout(
            SourceRequest(repository=place, ref=ref, **more),
            mirrors=tmp_path / "mirrors",
            into=tmp_path / f"into{next(numbers)}",
            report=report,
        )

    return do
