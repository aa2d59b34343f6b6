"""Reports of accuracy and calibration, on answers that are known and on the LLMBar files."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from nlhf.errors import HypothesisViolated
from nlhf.lm.judges.calibration import calibration_report
from nlhf.lm.judges.callables import CallablePreference
from nlhf.lm.judges.pairs import PreferencePairs
from nlhf.streams import Stream
from tests.lm.judges.tiny import pairs_of


class Known:
    """Answers given in advance: `table[chosen token]` for the order asked first, else another."""

    def __init__(self, straight, turned=None):
        self.straight = np.asarray(straight, dtype=float)
        self.turned = 1.0 - self.straight if turned is None else np.asarray(turned, dtype=float)

    def preferences(self, first, second):
        forward = first.tokens[0, 0, 0] == 1
        values = self.straight if forward else self.turned
        return values[: len(first.prompts), None, None].copy()


def asked(count):
    return pairs_of([1] * count, [2] * count)


def test_the_numbers_are_those_of_a_hand_made_case():
    report = calibration_report(Known([0.95, 0.65, 0.5, 0.25]), asked(4), bins=5)
    assert report.pairs == 4
    assert report.ties == 1
    assert report.accuracy == (1 + 1 + 0.5 + 0) / 4
    assert report.log_loss == pytest.approx(-np.log([0.95, 0.65, 0.5, 0.25]).mean())
    assert report.brier == pytest.approx((0.0025 + 0.1225 + 0.25 + 0.5625) / 4)
    np.testing.assert_array_equal(report.reliability.counts, [1, 1, 1, 0, 1])
    # |1/2 - .5|, |1 - .65|, |0 - .75|, |1 - .95|
    assert report.calibration_error == pytest.approx((0.35 + 0.75 + 0.05) / 4)
    assert report.order_gap == 0.0
    assert report.order_consistent == 1.0


def test_the_intervals_are_scipys():
    right = np.where(np.arange(50) < 37, 0.8, 0.3)
    report = calibration_report(Known(right), asked(50), confidence=0.9)
    test = binomtest(37, 50)
    wilson = test.proportion_ci(0.9, method="wilson")
    exact = test.proportion_ci(0.9, method="exact")
    assert (report.wilson.low, report.wilson.high) == pytest.approx((wilson.low, wilson.high))
    found = report.clopper_pearson
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_the_order_is_judged():
    report = calibration_report(Known([0.9, 0.7, 0.4], [0.3, 0.7, 0.6]), asked(3))
    assert report.order_bias == pytest.approx((0.2 + 0.4 + 0.0) / 3)
    assert report.order_gap == pytest.approx(0.2)
    assert report.order_consistent == pytest.approx(2 / 3)
    assert report.accuracy == pytest.approx((1 + 0.5 + 0) / 3)


def test_a_calibrated_model_has_the_error_that_is_announced():
    generator = Stream(1).generator()
    errors, announced = [], []
    for _ in range(30):
        sure = generator.uniform(0.5, 1.0, 120)
        right = np.where(generator.random(120) < sure, sure, 1 - sure)
        report = calibration_report(Known(right), asked(120), bins=8)
        errors.append(report.calibration_error)
        announced.append(report.calibration_bias)
    # Standard error of the mean about 0.003; a false alarm at four of them is 1e-4. The
    # normal approximation errs by less than that with 15 pairs a bin.
    assert np.mean(errors) == pytest.approx(np.mean(announced), abs=0.012)
    assert np.mean(announced) > 0.05


def test_control_an_overconfident_model_is_seen():
    generator = Stream(2).generator()
    right = np.where(generator.random(400) < 0.6, 0.99, 0.01)
    report = calibration_report(Known(right), asked(400))
    assert report.calibration_error > 0.3 > 5 * report.calibration_bias


def test_certain_and_wrong_is_infinitely_bad():
    assert calibration_report(Known([0.0, 1.0]), asked(2)).log_loss == np.inf


def test_arguments_are_checked():
    with pytest.raises(HypothesisViolated, match="0 bins"):
        calibration_report(Known([0.5]), asked(1), bins=0)


class Bytes:
    def decode(self, token_ids, skip_special_tokens=True):
        return bytes(t - 1 for t in token_ids).decode()


def llmbar(folder, name):
    lines = (folder / "llmbar" / f"{name}.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    columns = [[one[key] for one in records] for key in ("prompt", "chosen", "rejected")]
    return PreferencePairs.of_texts(*columns, lambda text: [b + 1 for b in text.encode()], pad=0)


def longer(prompts, pairs):
    return [0.5 + 0.5 * (len(a) > len(b)) - 0.5 * (len(a) < len(b)) for a, b in pairs]


@pytest.mark.parametrize("name", ["natural", "mtbench"])
def test_the_length_of_answers_on_llmbar(real_data, name):
    pairs = llmbar(real_data, name)
    report = calibration_report(CallablePreference(longer, Bytes()), pairs)
    counted = [
        (len(a.encode().decode()), len(b.encode().decode()))
        for a, b in (
            (json.loads(line)["chosen"], json.loads(line)["rejected"])
            for line in (real_data / "llmbar" / f"{name}.jsonl").read_text().splitlines()
        )
    ]
    right = np.mean([0.5 + 0.5 * np.sign(a - b) for a, b in counted])
    assert report.pairs == len(counted) == {"natural": 100, "mtbench": 200}[name]
    assert report.accuracy == pytest.approx(right)
    assert report.clopper_pearson.low < report.accuracy < report.clopper_pearson.high
    print(f"\nlength on LLMBar {name}: {report.wilson}")
