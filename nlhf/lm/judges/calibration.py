"""How accurate and how well calibrated a preference model is on pairs whose answers are known."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from nlhf.errors import HypothesisViolated
from nlhf.lm.judges.base import PreferenceModel, checked_preferences
from nlhf.lm.judges.pairs import PreferencePairs
from nlhf.lm.responses import Responses
from nlhf.results import read_only


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with an interval that covers with the stated confidence.

    Attributes:
        value: The estimate.
        low: The lower end.
        high: The upper end.
        confidence: Nominal (Wilson) or guaranteed (Clopper-Pearson).
        method: How it was made.
    """

    value: float
    low: float
    high: float
    confidence: float
    method: str


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Pairs grouped by the confidence c = max(p, 1 - p) of the answer, in bins of equal width.

    A bin contains its lower edge; the last one its upper edge, 1, too. Means are nan in empty bins.

    Attributes:
        edges: Of the bins, from 1/2 to 1.
        counts: The pairs in every bin.
        confidence: Their mean c.
        accuracy: The share of them answered right, ties half.
    """

    edges: Float[np.ndarray, " edge"]
    counts: Int[np.ndarray, " bin"]
    confidence: Float[np.ndarray, " bin"]
    accuracy: Float[np.ndarray, " bin"]

    def __post_init__(self) -> None:
        for name in ("edges", "counts", "confidence", "accuracy"):
            object.__setattr__(self, name, read_only(getattr(self, name)))


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationReport:
    r"""What a preference model says of pairs with known answers.

    With p the probability given to the chosen response, both orders averaged:

    Attributes:
        pairs: N.
        ties: How many p are exactly 1/2; each is half right.
        wilson: The accuracy with Wilson's score interval.
        clopper_pearson: The same with the exact interval; a half right answer counts as wrong in
            the lower end and as right in the upper.
        log_loss: The mean of -log p, in nats; infinite if the model is certain of a wrong answer.
        brier: The mean of :math:`(1 - p)^2`; 1/4 for a model that always says 1/2.
        reliability: The bins of the diagram.
        calibration_error: ECE, :math:`\sum_b \frac{n_b}{N} |acc_b - conf_b|`.
        calibration_bias: The ECE to be expected of a *perfectly calibrated* model with the same
            confidences, :math:`\sum_b \frac{1}{N} \sqrt{\tfrac2\pi \sum_{i \in b} c_i (1 - c_i)}`
            in the normal approximation of every bin: ECE is biased upwards, and one that is not
            above this says nothing against calibration.
        order_gap: The mean of :math:`|P(a, b) + P(b, a) - 1|`; 0 for complementary models.
        order_bias: The mean of P(a, b) + P(b, a) - 1: above 0, the first place is favoured.
        order_consistent: The share of pairs for which both orders name the same winner, a tie
            agreeing with a tie only.
    """

    pairs: int
    ties: int
    wilson: Interval
    clopper_pearson: Interval
    log_loss: float
    brier: float
    reliability: Reliability
    calibration_error: float
    calibration_bias: float
    order_gap: float
    order_bias: float
    order_consistent: float

    @property
    def accuracy(self) -> float:
        """The share of pairs answered right, ties half."""
        return self.wilson.value


def calibration_report(
    model: PreferenceModel,
    pairs: PreferencePairs,
    *,
    bins: int = 10,
    confidence: float = 0.95,
) -> CalibrationReport:
    """Ask a preference model about pairs in both orders, and compare with the known answers.

    Pairs count equally, whatever their weights, and are taken as independent: with several pairs of
    a prompt or a rater, the intervals are too narrow.

    Args:
        model: What is judged.
        pairs: Pairs that it was not fitted to.
        bins: Of the reliability diagram.
        confidence: Of the intervals, in (0, 1).

    Raises:
        HypothesisViolated: The number of bins or the confidence is out of range.
        InvalidData: The model answers with something else than a probability.
    """
    if bins < 1 or not 0.0 < confidence < 1.0:
        raise HypothesisViolated(
            f"{bins} bins and confidence {confidence:g}",
            "ask for at least 1 bin, and a confidence between 0 and 1",
        )
    straight = _asked(model, pairs.chosen, pairs.rejected)
    turned = _asked(model, pairs.rejected, pairs.chosen)
    right = (straight + 1.0 - turned) / 2.0
    sure = np.maximum(right, 1.0 - right)
    hits = np.where(right == 0.5, 0.5, right > 0.5)
    diagram = _reliability(sure, hits, bins)
    with np.errstate(divide="ignore"):
        log_loss = float(-np.log(right).mean())
    return CalibrationReport(
        pairs=len(right),
        ties=int((right == 0.5).sum()),
        wilson=_wilson(float(hits.sum()), len(hits), confidence),
        clopper_pearson=_clopper_pearson(hits, confidence),
        log_loss=log_loss,
        brier=float(((1.0 - right) ** 2).mean()),
        reliability=diagram,
        calibration_error=_calibration_error(diagram),
        calibration_bias=_expected_error(sure, diagram),
        order_gap=float(abs(straight + turned - 1.0).mean()),
        order_bias=float((straight + turned - 1.0).mean()),
        order_consistent=float((np.sign(straight - 0.5) == np.sign(0.5 - turned)).mean()),
    )


def _asked(model: PreferenceModel, first: Responses, second: Responses) -> np.ndarray:
    return checked_preferences(model.preferences(first, second), first, second)[:, 0, 0]


def _reliability(sure: np.ndarray, hits: np.ndarray, bins: int) -> Reliability:
    edges = np.linspace(0.5, 1.0, bins + 1)
    of = _bins(sure, edges)
    counts = np.bincount(of, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(of, sure, bins) / counts
        share = np.bincount(of, hits, bins) / counts
    return Reliability(edges, counts, mean, share)


def _bins(sure: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.clip(np.searchsorted(edges, sure, side="right") - 1, 0, len(edges) - 2)


def _calibration_error(diagram: Reliability) -> float:
    used = diagram.counts > 0
    gaps = abs(diagram.accuracy[used] - diagram.confidence[used])
    return float(diagram.counts[used] @ gaps / diagram.counts.sum())


def _expected_error(sure: np.ndarray, diagram: Reliability) -> float:
    variances = np.bincount(_bins(sure, diagram.edges), sure * (1.0 - sure), len(diagram.counts))
    return float(np.sqrt(2.0 / math.pi * variances).sum() / len(sure))


def _wilson(successes: float, trials: int, confidence: float) -> Interval:
    from statistics import NormalDist

    z2 = NormalDist().inv_cdf(0.5 + confidence / 2) ** 2
    share = successes / trials
    centre = successes + z2 / 2
    half = math.sqrt(z2 * (successes * (1.0 - share) + z2 / 4))
    low, high = (centre - half) / (trials + z2), (centre + half) / (trials + z2)
    return Interval(share, max(0.0, low), min(1.0, high), confidence, "Wilson score, ties half")


def _clopper_pearson(hits: np.ndarray, confidence: float) -> Interval:
    from scipy.stats import binomtest

    trials = len(hits)
    ends = [
        binomtest(int(count), trials).proportion_ci(confidence, method="exact")
        for count in ((hits == 1.0).sum(), (hits > 0.0).sum())
    ]
    method = "Clopper-Pearson, ties against either end"
    return Interval(float(hits.mean()), ends[0].low, ends[1].high, confidence, method)
