"""The over-optimisation study: its points are those of the curves, its report shows them."""

import pytest

from benchmarks.provenance import ROOT, provenance
from benchmarks.studies.over_optimisation import MODELS, NATS, curves, report


def test_points_and_report_hold_every_model_and_divergence():
    points = curves(20, instances=3)
    assert [(one.model, one.divergence) for one in points] == [
        (model, nats) for model in MODELS for nats in NATS
    ]
    oracle = [one.gold for one in points if one.model == "human and oracle"]
    human = [one.gold for one in points if one.model == "human"]
    assert all(a > b for a, b in zip(oracle, human, strict=True))
    assert 0.0 <= points[0].turned <= 1.0
    text = report(points, provenance(ROOT))
    for one in points:
        assert f"{one.gold:+.3f}" in text
    assert points[0].instances == pytest.approx(3, abs=2)
