import math
from collections.abc import Callable
from dataclasses import replace

from miner.ledger.recorder import Recorder
from miner.ledger.rows import OverrideRow, TickRow
from miner.ledger.store import Store

QUIET = OverrideRow("rack1", "off", 100.0, math.inf, "ann", "a fan is loud")


def window(start: float, stop: float, seen: float, source: str = "webhook") -> TickRow:
    return TickRow("signal:dr", 1.0, "1", start, stop, seen, source)


def test_an_override_holds_until_it_is_taken_back(store: Store) -> None:
    store.add_override(QUIET)
    store.add_override(replace(QUIET, unit_id="rack2", until=500.0))
    assert store.last_overrides(400.0) == [QUIET, replace(QUIET, unit_id="rack2", until=500.0)]
    assert store.last_overrides(500.0) == [QUIET]
    store.add_override(replace(QUIET, until=600.0, who="bob"))
    assert store.last_overrides(600.0) == []
    assert [row.who for row in store.last_overrides(599.0)] == ["bob"]


def test_the_override_written_last_counts_whatever_its_times_are(store: Store) -> None:
    store.add_override(QUIET)
    earlier = replace(QUIET, mode="eco", since=50.0)
    store.add_override(earlier)
    assert store.last_overrides(200.0) == [earlier]


def test_old_overrides_are_forgotten_but_never_the_last_of_a_unit(url: str, store: Store) -> None:
    store.add_override(QUIET)
    store.add_override(replace(QUIET, mode="eco", since=200.0))
    with Store.open(url, site="north") as north:
        north.add_override(QUIET)
        north.prune_history(math.inf)
        assert north.last_overrides(0.0) == [QUIET]
    store.prune_history(math.inf)
    assert [row.mode for row in store.last_overrides(0.0)] == ["eco"]


def test_windows_of_signals_come_back_as_they_were_told_last(store: Store) -> None:
    store.add_windows([window(100, math.inf, 1), window(900, 950, 1)])
    store.add_windows([window(100, 200, 2)])
    assert store.last_windows("signal:", 150.0) == [window(900, 950, 1), window(100, 200, 2)]
    # The earlier word, that it has no end, is not what counts.
    assert store.last_windows("signal:", 300.0) == [window(900, 950, 1)]


def test_a_window_told_twice_at_one_instant_is_what_was_told_last(store: Store) -> None:
    store.add_windows([window(100, math.inf, 1)])
    store.add_windows([window(100, 100.5, 1)])
    assert store.last_windows("signal:", 0.0) == [window(100, 100.5, 1)]


def test_windows_of_two_sources_stand_side_by_side(store: Store) -> None:
    both = [window(100, 200, 1, "schedule"), window(100, 300, 1)]
    store.add_windows(both)
    assert store.last_windows("signal:", 0.0) == both


def test_prices_are_no_windows(store: Store, tick: Callable[..., TickRow]) -> None:
    store.add_ticks([tick(1), tick(1, series="signal_strength"), tick(1, series="%signal:")])
    assert store.last_windows("signal:", 0.0) == []


def test_windows_that_are_not_over_outlive_what_is_forgotten(store: Store) -> None:
    kept = [window(100, 5000, 1), window(200, math.inf, 2)]
    store.add_windows([window(50, 90, 0.5), *kept, window(300, 400, 3)])
    store.prune_history(1000.0)
    assert store.last_windows("signal:", 0.0) == [*kept, window(300, 400, 3)]  # the newest of a series stays


async def test_the_recorder_writes_and_reads_orders(store: Store) -> None:
    async with Recorder(store) as recorder:
        await recorder.add_override(QUIET)
        await recorder.add_windows([window(100, 200, 1)])
        assert await recorder.last_overrides(0.0) == [QUIET]
        assert await recorder.last_windows("signal:", 0.0) == [window(100, 200, 1)]
