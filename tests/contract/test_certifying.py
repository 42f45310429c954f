"""One certificate for several hosts, with a real authority and a real store: obtained once, renewed, never lost."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

import pytest

from deployd.certificates import reading
from deployd.daemon.renewer import Renewer
from deployd.domain.host import Host
from deployd.domain.ids import AppName, EnvironmentName, HostName
from deployd.errors import UnreachableError
from deployd.paths import StatePaths
from deployd.rollouts import certifying
from deployd.rollouts.certified import HOUR, Kept, Site
from deployd.store import Store
from tests.contract.test_acme import Answers
from tests.support.authority import Authority

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from deployd.certificates.reading import Certificate
    from deployd.domain.secret import Secret

APP, PRODUCTION = AppName("shop"), EnvironmentName("production")
WEB1, WEB2 = HostName("web1"), HostName("web2")


class Helper:
    """A host: it answers the authority, and keeps what it is brought."""

    def __init__(self, name: HostName, answers: Answers) -> None:
        self.name = name
        self.answers = answers
        self.chain = ""
        self.is_away = False

    def answer(self, token: str, text: str | None) -> None:
        if text is None:
            self.answers.take(token)
        else:
            self.answers.put(token, text)

    def certificate(
        self, app: str, environment: str, *, chain: str, key: Secret, names: Sequence[str], since: float, until: float
    ) -> bool:
        assert (app, environment, reading.read_chain(chain).names, 0 < since < until) == (
            APP,
            PRODUCTION,
            tuple(names),
            True,
        )
        assert "PRIVATE KEY" in key.reveal()
        changed, self.chain = self.chain != chain, chain
        return changed


class Fleet:
    """Two hosts behind one name, and the pool of deployd that reaches them."""

    def __init__(self, answers: Answers) -> None:
        self.helpers = {name: Helper(name, answers) for name in (WEB1, WEB2)}

    def each(self, names: Sequence[HostName], do: Callable[[Any], Any]) -> dict[HostName, Any]:
        away = UnreachableError("away", host="web2", live="unknown", fix="wait")
        return {name: away if self.helpers[name].is_away else do(self.helpers[name]) for name in names}

    def chains(self) -> set[str]:
        return {helper.chain for helper in self.helpers.values()}

    def __call__(self, _names: Sequence[HostName]) -> Any:
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


@pytest.fixture
def answers() -> Iterator[Answers]:
    made = Answers("")
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def fleet(answers: Answers) -> Fleet:
    return Fleet(answers)


@pytest.fixture
def paths(tmp_path: Path) -> StatePaths:
    return StatePaths(tmp_path / "state").make()


@pytest.fixture
def store(paths: StatePaths) -> Iterator[Store]:
    made = Store(paths)
    for name in (WEB1, WEB2):
        made.hosts.put(Host(name=name, address="192.0.2.1", host_key="ssh-ed25519 AAAA"), who="me")
    yield made
    made.close()


@pytest.fixture
def authority(tmp_path: Path, answers: Answers) -> Iterator[Authority]:
    """Its certificates live for a day."""
    yield from started(Authority(tmp_path / "authority", "127.0.0.1", http=answers.server.server_address[1]))


def started(made: Authority) -> Iterator[Authority]:
    try:
        made.start()
        for name in ("shop.test", "www.shop.test"):
            made.lead(name, ["127.0.0.1"])
        yield made
    finally:
        made.close()


def site(authority: Authority, *names: str, hosts: Sequence[HostName] = (WEB1, WEB2)) -> Site:
    root = (authority.folder / "root.pem").read_text()
    return Site(
        app=APP, environment=PRODUCTION, names=names, hosts=tuple(hosts), directory=authority.directory, root=root
    )


class Time:
    """What deployd takes for now."""

    def __init__(self) -> None:
        self.time = time.time

    def is_before_the_end_of(self, certificate: Certificate | None, part: float) -> None:
        """This part of its life is left."""
        assert certificate
        moment = certificate.ends - part * (certificate.ends - certificate.begins)
        self.time = lambda: moment

    def is_real(self) -> None:
        self.time = time.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(certifying, "time", made)
    return made


def test_a_life(authority: Authority, fleet: Fleet, paths: StatePaths, store: Store, clock: Time) -> None:
    told: list[dict[str, Any]] = []

    def ensure(wanted: Site) -> Kept | None:
        pool: Any = fleet
        return certifying.ensure(
            paths, store, pool, wanted, who="me", report=lambda event, **fields: told.append({"event": event, **fields})
        )

    wanted = site(authority, "shop.test")
    both: list[Kept | None] = []
    threads = [threading.Thread(target=lambda: both.append(ensure(wanted))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = both[0]
    assert first
    assert {one.chain for one in both if one} == {first.chain}  # who comes second waits, and takes the same
    assert told == []

    wider = ensure(site(authority, "shop.test", "www.shop.test", hosts=[WEB2]))
    assert wider
    assert wider.chain != first.chain
    assert wider.site.hosts == (WEB1, WEB2)
    daemon: Any = SimpleNamespace(paths=paths, store=store, workshop=SimpleNamespace(pool_of=fleet))
    fleet.helpers[WEB2].is_away = True
    Renewer().look(daemon)
    assert fleet.chains() == {wider.chain, ""}
    fleet.helpers[WEB2].is_away = False
    Renewer().look(daemon)
    assert fleet.chains() == {wider.chain}

    clock.is_before_the_end_of(wider.certificate, 0.3)
    Renewer().look(daemon)
    clock.is_real()
    renewed = certifying.find(store, APP, PRODUCTION)
    assert renewed
    assert renewed.chain != wider.chain
    assert fleet.chains() == {renewed.chain}

    authority.end()
    clock.is_before_the_end_of(renewed.certificate, 0.3)
    stays = ensure(renewed.site)
    assert stays
    assert (stays.chain, "does not answer" in str(stays.problem)) == (renewed.chain, True)
    assert (told[-1]["code"], "stays" in told[-1]["what"]) == ("authority-unreachable", True)
    Renewer().look(daemon)
    assert "does not answer" in str(certifying.everything(store)[0].problem)
    clock.is_before_the_end_of(renewed.certificate, -0.1)
    assert ensure(renewed.site) is None  # of no use any more; the hosts keep what they have
    assert "browsers distrust it" in told[-1]["what"]
    assert fleet.chains() == {renewed.chain}


def test_a_name_that_is_refused_is_left_out_and_tried_again(
    authority: Authority, fleet: Fleet, paths: StatePaths, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the daemon's look an hour later, and by `domain renew`, without another release; the others are not asked for anew."""
    pool: Any = fleet
    told: list[dict[str, Any]] = []

    def ensure(wanted: Site, *, patient: bool = False) -> Kept | None:
        return certifying.ensure(
            paths, store, pool, wanted, who="me", patient=patient, report=lambda _event, **fields: told.append(fields)
        )

    nowhere = site(authority, "elsewhere.test")
    assert ensure(nowhere) is None
    (kept,) = certifying.everything(store)
    assert (kept.certificate, kept.to_json()["ends"], kept.site.hosts) == (None, None, (WEB1, WEB2))
    assert "elsewhere.test" in str(kept.problem)
    now, given = certifying.renew(paths, store, pool, kept, who="me")
    assert now
    assert ("elsewhere.test" in str(now.problem), given, fleet.chains()) == (True, {}, {""})

    both = site(authority, "elsewhere.test", "shop.test")
    first = ensure(both)
    assert first
    assert first.certificate
    assert (first.certificate.names, first.to_json()["missing"]) == (("shop.test",), ["elsewhere.test"])
    assert (told[-1]["code"], "lacks elsewhere.test: the authority refused" in told[-1]["what"]) == (
        "authority-refused",
        True,
    )
    again = ensure(both, patient=True)
    assert (again, told[-1]["code"]) == (first, "certificate-waits")
    again = ensure(both)
    assert again
    assert (again.chain, "elsewhere.test" in str(again.problem)) == (first.chain, True)  # no second one of the same
    without = ensure(site(authority, "shop.test"))
    assert without
    assert (without.chain, without.problem, certifying.everything(store)) == (first.chain, None, (without,))
    assert ensure(both)

    authority.lead("elsewhere.test", ["127.0.0.1"])
    Renewer().look(_daemon(paths, store, fleet))
    (kept,) = certifying.everything(store)
    assert kept.problem  # a daemon leaves the authority alone for as long as it said
    assert kept.failures == 1
    assert fleet.chains() == {kept.chain}  # and brings what there is

    monkeypatch.setattr(certifying, "time", SimpleNamespace(time=lambda: time.time() + HOUR))
    Renewer().look(_daemon(paths, store, fleet))

    (kept,) = certifying.everything(store)
    assert (kept.problem, fleet.chains()) == (None, {kept.chain})
    assert kept.certificate
    assert set(kept.certificate.names) == {"shop.test", "elsewhere.test"}


def test_a_name_that_is_refused_is_not_given_up_before_the_others_need_it(
    authority: Authority, fleet: Fleet, paths: StatePaths, store: Store, clock: Time
) -> None:
    pool: Any = fleet
    both = site(authority, "shop.test", "www.shop.test")
    first = certifying.ensure(paths, store, pool, both, who="me")
    assert first
    authority.tell("clear-a", host="www.shop.test")
    clock.is_before_the_end_of(first.certificate, 0.3)
    stays = certifying.ensure(paths, store, pool, both, who="me")
    assert stays
    assert stays.chain == first.chain
    clock.is_before_the_end_of(first.certificate, 0.2)
    fresh = certifying.ensure(paths, store, pool, both, who="me")
    assert fresh
    assert fresh.certificate
    assert fresh.certificate.names == ("shop.test",)


def test_a_release_does_not_ask_again_and_again_who_refused_within_the_hour(
    authority: Authority, fleet: Fleet, paths: StatePaths, store: Store, clock: Time
) -> None:
    pool: Any = fleet
    told: list[str] = []

    def ensure(*, patient: bool) -> Kept | None:
        return certifying.ensure(
            paths, store, pool, wanted, who="me", patient=patient,
            report=lambda _event, **fields: told.append(str(fields["code"])),
        )  # fmt: skip

    wanted = site(authority, "shop.test")
    first = ensure(patient=True)
    assert first
    authority.end()
    clock.is_before_the_end_of(first.certificate, 0.3)
    assert [ensure(patient=patient) is not None for patient in (True, True, False)] == [True, True, True]
    assert told == ["authority-unreachable", "certificate-waits", "authority-unreachable"]


def _daemon(paths: StatePaths, store: Store, fleet: Fleet) -> Any:
    return SimpleNamespace(paths=paths, store=store, workshop=SimpleNamespace(pool_of=fleet))


def test_what_is_kept_is_sealed(authority: Authority, fleet: Fleet, paths: StatePaths, store: Store) -> None:
    pool: Any = fleet
    kept = certifying.ensure(paths, store, pool, site(authority, "shop.test"), who="me")

    assert kept
    for secret in (kept.key.reveal().splitlines()[1], "PRIVATE KEY"):
        for file in paths.root.rglob("*"):
            assert not file.is_file() or secret.encode() not in file.read_bytes(), file
    assert "PRIVATE" not in repr(kept) + str(kept.to_json())
