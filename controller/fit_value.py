"""Fitted value iteration: what being on is worth, learned from rows of a market's history by boosted trees.

The worth D of being on, as a share of the cost of stopping and starting, obeys D = clip(margin + E[next D], 0, 1). What is expected is
learned by regression, first on a few quarter hours as they came, then again and again on targets that use what was learned before.
Source: Longstaff and Schwartz, Valuing American options by simulation (2001); Ernst, Geurts and Wehenkel, Tree-based batch mode
reinforcement learning (2005).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from controller.fit_rows import draw, margin, rows
from controller.worth_features import NAMES, WITHOUT_DAY_AHEAD, spanned
from controller.worth_seen import Sees
from controller.worth_trees import Tree, grown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

    from controller.fit_rows import History, Reach
    from controller.worth_features import Span
    from controller.worth_trees import Trees

FIRST_LOOK: Final = 8
"""Quarter hours as they came that the first targets are made of."""
EXTREME: Final = 12.0
"""Margins of more costs than this are cut off: they decide nothing, and a spike would outweigh all else."""

ROWS_PER_MOMENT: Final = 10
"""At most, on average: rows of one moment share their future, and a leaf must have seen several."""

FEW_ROWS: Final = 20_000
"""Fewer are learned in one thread: several would mostly wait for each other."""


class FitError(ValueError):
    """Nothing can be fitted; says why and what to do."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How it is learned: `rows` are drawn and `trees` grown in the last of so many `rounds`, `early_trees` in those before; `fits` times.

    The worth that all `fits` tell on average counts.
    """

    rows: int
    rounds: int
    trees: int
    early_trees: int
    learning_rate: float
    leaves: int
    least_leaf: int
    smoothing: float
    fits: int

    def less(self, part: float) -> Settings:
        """The same with a part of the rows, once."""
        return replace(self, rows=round(self.rows * part), fits=1)


SETTINGS: Final = Settings(
    rows=200_000,
    rounds=6,
    trees=150,
    early_trees=60,
    learning_rate=0.1,
    leaves=31,
    least_leaf=100,
    smoothing=1.0,
    fits=2,
)
"""Chosen by cross validation on thirds of ERCOT's hub average of 2024: bench/fit_folds.py does it again, docs/real-time-prices.md tells."""


def learners() -> Any:
    """The class of scikit-learn that grows the trees; FitError without it."""
    try:
        from sklearn.ensemble import HistGradientBoostingRegressor  # noqa: PLC0415 - slow to import, and an extra
    except ImportError as error:
        raise FitError(
            "fitting needs scikit-learn: install hashmill with the extra `fit`, as in pip install 'hashmill[fit]'"
        ) from error
    return HistGradientBoostingRegressor


def learn(
    of: History,
    moments: NDArray[np.int64],
    between: Reach,
    sees: Sees,
    *,
    day_ahead: bool,
    seed: int,
    settings: Settings,
    progress: Callable[[float], None],
) -> tuple[Trees, Span]:
    """The trees for what may be seen, learned at these moments, and what they were fitted on; `progress` is told the part that is done."""
    columns = np.arange(len(NAMES)) if day_ahead else np.array(WITHOUT_DAY_AHEAD)
    grove: list[Tree] = []
    base = 0.0
    spans: list[Span] = []
    count = min(settings.rows, ROWS_PER_MOMENT * len(moments))
    for fit in range(settings.fits):
        drawn = draw(of, moments, between, count, np.random.default_rng([seed, fit]))
        here = rows(of, drawn)
        spans.append(spanned(here, day_ahead=day_ahead))
        coming = rows(of, drawn, 1)[:, columns]
        margins = [margin(of, drawn, later) for later in range(FIRST_LOOK + 1)]
        told = _part(progress, fit / settings.fits, 1 / settings.fits)
        with _threads(count):
            model = _iterated(here[:, columns], coming, margins, sees, seed + fit, settings, told)
        trees, start = exported(model, columns, share=1 / settings.fits)
        grove += trees
        base += start
    return grown(grove, base), spans[0]


def _iterated(
    here: NDArray[np.float32],
    coming: NDArray[np.float32],
    margins: Sequence[NDArray[np.float64]],
    sees: Sees,
    seed: int,
    settings: Settings,
    progress: Callable[[float], None],
) -> Any:
    """The model after the last round of regression; `here` and `coming` are what is seen now and a quarter hour later."""
    make = learners()
    target = _as_it_came(margins, sees)
    for number in range(1, settings.rounds + 1):
        last = number == settings.rounds
        model = make(
            max_iter=settings.trees if last else settings.early_trees,
            learning_rate=settings.learning_rate,
            max_leaf_nodes=settings.leaves,
            min_samples_leaf=settings.least_leaf,
            l2_regularization=settings.smoothing,
            early_stopping=False,
            random_state=seed,
        ).fit(here, target)
        progress(number / settings.rounds)
        if not last:
            target = _target(margins[1], np.clip(model.predict(coming), 0.0, 1.0), sees)
    return model


def _threads(count: int) -> AbstractContextManager[Any]:
    """Within it so many rows are learned by as many threads as are of use; what is learned is the same with any."""
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 - comes with scikit-learn

    limits: AbstractContextManager[Any] = threadpool_limits(1 if count < FEW_ROWS else None, "openmp")
    return limits


def _part(progress: Callable[[float], None], done: float, share: float) -> Callable[[float], None]:
    """What tells the progress of a share of the work, after what was done before it."""
    return lambda part: progress(done + share * part)


def _as_it_came(margins: Sequence[NDArray[np.float64]], sees: Sees) -> NDArray[np.float64]:
    """The first targets: the worth if the next quarter hours had been known."""
    worth = np.full(len(margins[0]), 0.5)
    for later in range(FIRST_LOOK, 1, -1):
        worth = np.clip(margins[later] + worth, 0.0, 1.0)
    return _target(margins[1], worth, sees)


def _target(
    margin_next: NDArray[np.float64], worth_after: NDArray[np.float64], sees: Sees
) -> NDArray[np.float64]:
    """What a row learns: how it went on, if what comes after the next quarter hour is worth that."""
    went = margin_next + worth_after
    least, most = (0.0, 1.0) if sees is Sees.A else (-EXTREME, EXTREME + 1.0)
    return np.clip(went, least, most)


def exported(model: Any, columns: NDArray[np.int64], share: float = 1.0) -> tuple[list[Tree], float]:
    """The trees of a fitted model and what is added to their sum, all times `share`; features are numbered as `NAMES` are."""
    # scikit-learn has no public way to its trees; a test compares what they say here and there.
    trees = []
    for (predictor,) in model._predictors:  # noqa: SLF001
        nodes = predictor.nodes
        trees.append(
            Tree(
                columns[nodes["feature_idx"]],
                nodes["num_threshold"].astype(np.float64),
                nodes["left"].astype(np.int64),
                nodes["right"].astype(np.int64),
                nodes["value"].astype(np.float64) * share,
                nodes["is_leaf"].astype(np.bool_),
            )
        )
    return trees, float(model._baseline_prediction[0, 0]) * share  # noqa: SLF001
