"""Traffic of a release and of the one before come in, whether visitors are clearly worse off goes out, with numbers.

Routes are compared with themselves, so that another mix of visitors is no finding. The tests are exact (Fisher's), so
they hold for small numbers; the whole bake has a chance of 1 % for one false alarm, divided among its questions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from deployd.domain import traffic

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from deployd.domain.traffic import Cell, Sum

FALSE_ALARM = 0.01
ENOUGH = 20
"""Requests below which nothing is said: of the new release, and of the one before."""
_ENOUGH_OF_ROUTE = 10
_ENOUGH_TIMES = 30
_FEWEST_ERRORS = 5
_MANY_ERRORS = 10
_MORE = 0.01  # the share of errors that must be added at least
_TIMES = 2.0  # how many times as often, or as slow
_SLOWER = 100.0  # milliseconds that must be added at least
_SLOW = 0.05  # the share that is slower than p95, of the release before by its definition
_ALONE = 0.9  # the share of errors that makes them one host's
_BLATANT = 0.5  # the share of errors that needs no comparison with the very same route

Outcome = Literal["worse", "fine", "little"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What two windows say. `what` has the numbers; `route` is the worst one, None where it is no single one.

    `slow` says that nothing but times is worse.
    """

    outcome: Outcome
    what: str
    requests: int
    before: int
    route: str | None = None
    slow: bool = False


def compare(after: Sequence[Cell], before: Sequence[Cell], *, looks: int = 1) -> Verdict:
    """Compare the new release's requests with those of the one before. `looks`: how often this is asked in all."""
    new, old = traffic.grouped(after, "route"), traffic.grouped(before, "route")
    every, earlier = traffic.total(after), traffic.total(before)
    shown = f"{every.count:,} requests, {earlier.count:,} before"

    def verdict(outcome: Outcome, what: str, route: str | None = None, *, slow: bool = False) -> Verdict:
        return Verdict(outcome=outcome, what=what, requests=every.count, before=earlier.count, route=route, slow=slow)

    if every.count < ENOUGH:
        return verdict("little", f"too little traffic to judge: {shown}")
    limit = FALSE_ALARM / (2 * (len(new) + 1) * max(1, looks))
    worse = next(_errors(new, old, earlier, limit), None)
    if worse:
        what, route = worse
        return verdict("worse", what + _where(after, route), route)
    slower = next(_slowness(new, old, limit), None) if earlier.count >= ENOUGH else None
    if slower:
        return verdict("worse", *slower, slow=True)
    if earlier.count < ENOUGH:
        return verdict("little", f"too little traffic to judge: {shown}")
    return verdict(
        "fine", f"5xx {_percent(every.error_share)} of {shown} ({_percent(earlier.error_share)}){_p95(every)}"
    )


def excused(
    found: Verdict, after: Sequence[Cell], beside: Sequence[Cell], before: Sequence[Cell], *, looks: int = 1
) -> Verdict:
    """The same finding, or `fine` where the release before became as bad meanwhile, on hosts that have it still.

    `beside` is what it answered there in the same time, `before` what it answered there earlier. It is an excuse only
    when that is clearly worse itself on the same route, and the new release is not clearly worse than that.
    """
    theirs = compare(beside, before, looks=looks)
    if theirs.outcome != "worse" or theirs.route != found.route:
        return found
    still = compare(after, beside, looks=looks)
    if still.outcome == "worse":
        return replace(still, what=f"{still.what}, on other hosts", before=found.before)
    return replace(found, outcome="fine", what=f"{found.what}; so it is with the release before: {theirs.what}")


def _where(after: Sequence[Cell], route: str | None) -> str:
    """The host that nearly all of these errors come from, where there are several; "" otherwise."""
    hosts = traffic.grouped((cell for cell in after if route in {None, cell.route}), "host")
    errors = sum(one.errors for one in hosts.values())
    return next((f", on {host}" for host, one in hosts.items() if len(hosts) > 1 and one.errors > _ALONE * errors), "")


def _errors(new: dict[str, Sum], old: dict[str, Sum], earlier: Sum, limit: float) -> Iterator[tuple[str, str | None]]:
    """Errors that are clearly more, with the route that they are of; one route before all."""
    for route, one in sorted(new.items(), key=lambda item: -item[1].errors):
        before = old.get(route, traffic.Sum())
        if before.count >= _ENOUGH_OF_ROUTE:
            found = _errors_of_route(one, before, limit)
        else:
            found = _errors_of_new_route(one, earlier, limit)
        if found:
            yield f"{found}, route {route}", route
    if found := _errors_of_all(new, old, limit):
        yield found, None


def _slowness(new: dict[str, Sum], old: dict[str, Sum], limit: float) -> Iterator[tuple[str, str | None]]:
    """What is clearly slower, with its route."""
    for route, one in new.items():
        if found := _slower_route(one, old.get(route, traffic.Sum()), limit):
            yield f"{found}, route {route}", route
    if found := _slower_all(new, old, limit):
        yield found, None


def _errors_of_route(new: Sum, old: Sum, limit: float) -> str | None:
    if new.count < _ENOUGH_OF_ROUTE or not _many_more(new, old):
        return None
    return _told(new, old) if tail(new.errors, new.count, old.errors, old.count) < limit else None


def _errors_of_new_route(new: Sum, earlier: Sum, limit: float) -> str | None:
    """A route that hardly anybody asked for before: it must fail blatantly, and is compared with all others."""
    if new.count < ENOUGH or new.error_share < _BLATANT:
        return None
    if earlier.count < ENOUGH:
        return f"5xx {_percent(new.error_share)} of {new.count:,} requests, and hardly any before"
    found = _errors_of_route(new, earlier, limit)
    return f"{found} on all routes" if found else None


def _many_more(new: Sum, old: Sum) -> bool:
    return (
        new.errors >= _FEWEST_ERRORS
        and new.error_share >= old.error_share + _MORE
        and new.error_share >= old.error_share * _TIMES
    )


def _errors_of_all(new: dict[str, Sum], old: dict[str, Sum], limit: float) -> str | None:
    """Some errors on each of many routes: each route adds what it has beyond its own expectation (Mantel-Haenszel)."""
    both = [(new[route], old[route]) for route in new if route in old]
    now, then = _added([one for one, _ in both]), _added([one for _, one in both])
    if now.errors < _MANY_ERRORS or not _many_more(now, then):
        return None
    excess = spread = 0.0
    for one, other in both:
        size, errors = one.count + other.count, one.errors + other.errors
        excess += one.errors - one.count * errors / size
        spread += one.count * other.count * errors * (size - errors) / (size**2 * max(1, size - 1))
    if spread <= 0 or math.erfc((excess - 0.5) / math.sqrt(2 * spread)) / 2 >= limit:
        return None
    return _told(now, then)


def _slower_route(new: Sum, old: Sum, limit: float) -> str | None:
    times, timed = sum(new.buckets.values()), sum(old.buckets.values())
    if times < _ENOUGH_TIMES or timed < _ENOUGH_TIMES:
        return None
    border = _border(old)
    slow, slow_before = traffic.slower(new.buckets, border), traffic.slower(old.buckets, border)
    if slow < _SLOW * times or tail(slow, times, slow_before, timed) >= limit:
        return None
    return (
        f"p95 {_ms(traffic.quantile(new.buckets, 0.95))} of {new.count:,} requests against "
        f"{_ms(traffic.quantile(old.buckets, 0.95))} of {old.count:,} before"
    )


def _slower_all(new: dict[str, Sum], old: dict[str, Sum], limit: float) -> str | None:
    """Each route has its own border; how many requests are beyond theirs is compared for all together."""
    slow = times = slow_before = timed = 0
    for route, one in new.items():
        other = old.get(route)
        if other is None or not one.buckets or sum(other.buckets.values()) < ENOUGH:
            continue
        border = _border(other)
        slow, times = slow + traffic.slower(one.buckets, border), times + sum(one.buckets.values())
        slow_before = slow_before + traffic.slower(other.buckets, border)
        timed += sum(other.buckets.values())
    if times < _ENOUGH_TIMES or slow < 2 * _SLOW * times or tail(slow, times, slow_before, timed) >= limit:
        return None
    return (
        f"{_percent(slow / times)} of {times:,} requests took twice as long as p95 of their route before, "
        f"where {_percent(slow_before / timed)} of {timed:,} did"
    )


def _border(old: Sum) -> float:
    """The milliseconds that count as clearly slower than before."""
    usual = traffic.quantile(old.buckets, 0.95) or 0.0
    return max(usual * _TIMES, usual + _SLOWER)


def tail(hits: int, size: int, hits_before: int, size_before: int) -> float:
    """The chance of `hits` or more of `size`, if both had the same share: Fisher's exact test, one-sided."""
    every, marked = size + size_before, hits + hits_before
    if hits <= 0 or not size:
        return 1.0
    whole = _ln_choose(every, size)
    chance = 0.0
    for one in range(hits, min(size, marked) + 1):
        term = math.exp(_ln_choose(marked, one) + _ln_choose(every - marked, size - one) - whole)
        chance += term
        if one > size * marked / every and term < chance * 1e-12:
            break
    return min(1.0, chance)


def _ln_choose(whole: int, part: int) -> float:
    if not 0 <= part <= whole:
        return -math.inf
    return math.lgamma(whole + 1) - math.lgamma(part + 1) - math.lgamma(whole - part + 1)


def _added(sums: Sequence[Sum]) -> Sum:
    return traffic.Sum(sum(one.count for one in sums), sum(one.errors for one in sums))


def _told(new: Sum, old: Sum) -> str:
    return (
        f"5xx {_percent(new.error_share)} of {new.count:,} requests against "
        f"{_percent(old.error_share)} of {old.count:,} before"
    )


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"


def _p95(every: Sum) -> str:
    value = traffic.quantile(every.buckets, 0.95)
    return f", p95 {_ms(value)}" if value is not None else ""
