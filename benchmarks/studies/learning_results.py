"""Tables of the learning studies: small, aggregated over replicates, with their origin on top."""

import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import nlhf
from benchmarks.provenance import RESULTS, ROOT
from nlhf.analysis.slopes import log_log_slope


def raw(folder: Path) -> Path:
    """Return where every row of every sweep is kept; not part of the checkout."""
    return ROOT / "build" / "sweeps" if folder == RESULTS else folder / "sweeps"


@dataclass(frozen=True, slots=True)
class Measured:
    """One number of one replicate.

    Attributes:
        study: What varies.
        family: Of `learning_families`.
        x: The value of what varies.
        method: What was measured.
        measure: What of it.
        replicate: The seed.
        value: The number.
    """

    study: str
    family: str
    x: float
    method: str
    measure: str
    replicate: int
    value: float


@dataclass(frozen=True, slots=True)
class Summary:
    """One number over replicates; fields as in `Measured`."""

    study: str
    family: str
    x: float
    method: str
    measure: str
    replicates: int
    mean: float
    lower_quartile: float
    median: float
    upper_quartile: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with an interval.

    Attributes:
        study: As in `Measured`.
        family: Likewise.
        method: Likewise.
        measure: Likewise.
        what: What is estimated, in words.
        value: The number.
        low: Lower end of its interval.
        high: Upper end.
        confidence: Of the interval.
        replicates: How many there were.
    """

    study: str
    family: str
    method: str
    measure: str
    what: str
    value: float
    low: float
    high: float
    confidence: float
    replicates: int


def summaries(found: Iterable[Measured]) -> list[Summary]:
    """Return mean and quartiles over replicates, in order of first appearance."""
    groups: dict[tuple[str, str, float, str, str], list[float]] = defaultdict(list)
    for one in found:
        groups[one.study, one.family, one.x, one.method, one.measure].append(one.value)
    return [
        Summary(
            *where,
            len(values),
            float(np.mean(values)),
            *(float(end) for end in np.quantile(values, (0.25, 0.5, 0.75))),
        )
        for where, values in groups.items()
    ]


def slopes(found: Sequence[Measured], study: str, first: float) -> list[Estimate]:
    """Return the log-log slope of the mean of everything in a study, from a given x on."""
    groups: dict[tuple[str, str, str], dict[float, dict[int, float]]] = defaultdict(
        lambda: defaultdict(dict)
    )
    for one in found:
        if one.study == study and one.x >= first:
            groups[one.family, one.method, one.measure][one.x][one.replicate] = one.value
    estimates = []
    for (family, method, measure), by_size in groups.items():
        values = np.array([[row[key] for key in sorted(row)] for row in by_size.values()])
        stream = nlhf.Stream(0).child("slopes", family, method, measure)
        slope = log_log_slope(np.array(list(by_size)), values, stream)
        what = f"slope of the log of the mean, from {first:g} on"
        estimates.append(
            Estimate(
                study,
                family,
                method,
                measure,
                what,
                slope.value,
                slope.low,
                slope.high,
                slope.confidence,
                values.shape[1],
            )
        )
    return estimates


def ratio_of_means(
    found: Sequence[Measured], measure: str, above: str, below: str, place: str
) -> Estimate:
    """Return the ratio of two methods' mean measures, with an interval over paired replicates.

    The interval is a bias-corrected and accelerated bootstrap of confidence 0.95; where both
    methods do the same in every replicate there is none.
    """
    from scipy.stats import DegenerateDataWarning, bootstrap

    ordered = sorted(found, key=lambda one: one.replicate)
    values = [
        [one.value for one in ordered if (one.method, one.measure) == (method, measure)]
        for method in (above, below)
    ]
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        interval = bootstrap(
            values,
            lambda first, second, axis: first.mean(axis=axis) / second.mean(axis=axis),
            paired=True,
            n_resamples=4000,
            rng=nlhf.Stream(0).child("ratio", measure, above, below, place).generator(),
        ).confidence_interval
    return Estimate(
        found[0].study,
        found[0].family,
        above,
        measure,
        f"times the mean of the {below}, {place}",
        float(np.mean(values[0]) / np.mean(values[1])),
        float(interval.low),
        float(interval.high),
        0.95,
        len(values[0]),
    )
