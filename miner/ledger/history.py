"""What the ledger forgets of decisions and what belongs to them: in pieces, each found without looking at all that stays."""

import math
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Connection, delete, func, select, tuple_

from miner.ledger.inputs import prune_inputs
from miner.ledger.orders import prune_overrides
from miner.ledger.tables import decisions, outcomes, ticks

#: How many decisions one write looks at, so that those behind it do not wait long: whole ticks, a tenth of a second.
PIECE_ROWS: Final = 5_000
#: What the reasons of decisions that only held a unit in its mode begin with.
HOLD: Final = "hold"
SIGNAL_PREFIX: Final = "signal:"
"""What the series of a signal begin with; one without an end holds until another tick of the same beginning says otherwise."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Decisions of since <= time < until (UTC unix seconds), or only those that held, to be forgotten at once."""

    since: float
    until: float
    only_holds: bool


def next_piece(
    connection: Connection, site: str, since: float, before: float, *, only_holds: bool
) -> Piece | None:
    """The oldest decisions of since <= time < before (UTC unix seconds) that may be forgotten; None where there are none."""
    times = select(decisions.c.at).order_by(decisions.c.at).limit(1)
    goes = _goes(site, since, before, only_holds=only_holds)
    first = connection.execute(times.where(*goes)).scalar_one_or_none()
    if first is None:
        return None
    follow = times.where(decisions.c.site == site, decisions.c.at >= first, decisions.c.at < before)
    end = connection.execute(follow.offset(PIECE_ROWS)).scalar_one_or_none()
    # Never a part of a tick: what is left of one would look as if somebody had taken the rest.
    until = before if end is None else max(end, math.nextafter(first, math.inf))
    return Piece(first, min(until, before), only_holds)


def prune_decisions(connection: Connection, site: str, piece: Piece) -> None:
    """Drop the decisions of this piece with their outcomes; but the last of each unit, which is memory.

    The inputs up to there go with them: they tell nothing any more without the decisions before, which their own were made from.
    """
    prune_inputs(connection, site, piece.until)
    goes = _goes(site, piece.since, piece.until, only_holds=piece.only_holds)
    if not piece.only_holds:
        gone = select(decisions.c.id).where(*goes)
        connection.execute(delete(outcomes).where(outcomes.c.site == site, outcomes.c.decision_id.in_(gone)))
    connection.execute(delete(decisions).where(*goes))


def prune_rest(connection: Connection, site: str, before: float, inputs_before: float) -> None:
    """Drop ticks and overrides older than `before` (UTC unix seconds), and inputs older than `inputs_before`.

    The last of each unit and series stay, being memory, and so do the last inputs.
    """
    prune_inputs(connection, site, inputs_before)
    prune_overrides(connection, site, before)
    is_signal = ticks.c.series.startswith(SIGNAL_PREFIX)
    # A window that was ended stands there twice: were the later word forgotten first, it would come back for ever.
    last_word = (
        select(func.max(ticks.c.row_id))
        .where(ticks.c.site == site, is_signal)
        .group_by(ticks.c.series, ticks.c.source, ticks.c.valid_from)
    )
    connection.execute(
        delete(ticks)
        .where(ticks.c.site == site, is_signal, ticks.c.observed_at < before)
        .where(ticks.c.row_id.not_in(last_word))
    )
    newest = (
        select(ticks.c.series, func.max(ticks.c.observed_at))
        .where(ticks.c.site == site)
        .group_by(ticks.c.series)
    )
    connection.execute(
        delete(ticks)
        .where(ticks.c.site == site, ticks.c.observed_at < before)
        # What was announced long ago may still lie ahead: prices and signals that have an end are kept until then.
        .where((ticks.c.valid_to < before) | ((ticks.c.valid_to == math.inf) & ~is_signal))
        .where(tuple_(ticks.c.series, ticks.c.observed_at).not_in(newest))
    )


def _goes(site: str, since: float, before: float, *, only_holds: bool) -> tuple[ColumnElement[bool], ...]:
    """What decisions of since <= time < before must be to be forgotten.

    The subqueries look up one row in an index for each of them; joins might make either database read the whole table.
    """
    later = decisions.alias()
    last = select(func.max(later.c.at)).where(later.c.site == site, later.c.unit_id == decisions.c.unit_id)
    old = (decisions.c.site == site, decisions.c.at >= since, decisions.c.at < before)
    past = decisions.c.at < last.correlate(decisions).scalar_subquery()
    if not only_holds:
        return *old, past
    ends = select(func.count()).where(outcomes.c.site == site, outcomes.c.decision_id == decisions.c.id)
    is_idle = ends.correlate(decisions).scalar_subquery() == 0
    return *old, decisions.c.reason.startswith(HOLD), past, is_idle
