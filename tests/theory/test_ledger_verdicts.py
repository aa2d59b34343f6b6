"""The whole ledger: verdicts, sharp cases, controls, and determinism."""

import json
import subprocess
import sys

import nlhf_theory
import pytest

from nlhf.streams import Stream
from nlhf.theorems import Expected, check

ALL = pytest.mark.parametrize("theorem", nlhf_theory.ALL, ids=lambda theorem: theorem.key)


LONG = {
    "nash-md-rate",
    "nash-md-constant-step-bias",
    "mirror-descent-linear",
    "extragradient-linear",
    "optimistic-linear",
    "sppo-average",
    "onpo-average",
    "comal-decrease",
    "published-aliases",
    "impossibility-repaired",
    "maxmin-duality",
    "hedge-rate",
    "alternation-fails",
    "em-monotone",
    "group-dro-rate",
    "mle-radius",
    "mle-radius-log-odds",
    "pelhf-version-space",
    "pelhf-bonus",
    "pelhf-population",
    "enhancer-certificate",
    "online-existence",
    "covariance-integral",
    "null-result",
    "soft-self-label-fixed-point",
    "consensus-is-sharpening",
    "selection",
    "how-much-synthetic",
    "linear-backbone",
}
"""Under the type checker these take 1 to 12 seconds each; `nlhf verify`, in CI too, is quicker."""


@pytest.mark.parametrize(
    "theorem",
    [
        pytest.param(t, id=t.key, marks=pytest.mark.slow if t.key in LONG else ())
        for t in nlhf_theory.ALL
    ],
)
def test_every_verdict_is_the_expected_one_and_every_control_bites(theorem):
    report = check(theorem, 30, Stream(1))
    assert report.complaints == ()
    assert report.instances + report.undecided >= 25
    assert report.rejected == 0, "the generator leaves the hypotheses"


@ALL
def test_sharp_cases_are_nearly_tight(theorem):
    for instance in theorem.sharp:
        assert theorem.satisfied(instance)
        margin = theorem.margin(instance)
        if theorem.expected is Expected.REFUTED:
            assert margin.violated
        else:
            assert not margin.violated
            assert margin.scaled < 1e-3


def test_only_the_refuted_statements_are_refuted():
    refuted = [t.key for t in nlhf_theory.ALL if t.expected is Expected.REFUTED]
    assert refuted == [
        "gap-controls-reverse-kl",
        "mle-radius-without-2",
        "pelhf-as-transcribed",
        "onpo-average-as-extracted",
        "impossibility-as-transcribed",
        "reward-mismatch-misspecified",
        "reward-mismatch-sharp-misspecified",
    ]


@pytest.mark.slow
def test_two_processes_give_the_same_report():
    code = "from nlhf.cli.verify import Verify; Verify(budget=25, json=True).run()"
    runs = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
        for _ in range(2)
    ]
    first, second = (json.loads(run.stdout)["theorems"] for run in runs)
    for theorem in (*first, *second):
        theorem.pop("seconds")
    assert first == second
