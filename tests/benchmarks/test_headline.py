"""The headline study: its family is the stated one, its policies are what they are called."""

from dataclasses import asdict, fields

import numpy as np
import pytest

from benchmarks.provenance import ROOT
from benchmarks.studies.headline import (
    BANDS,
    MINORITIES,
    PAIRS,
    Outcome,
    outcomes,
    pooled_reward,
    tastes,
)
from benchmarks.studies.headline_report import report
from benchmarks.tables import read_rows


@pytest.fixture(scope="module")
def some():
    return [one for k in range(8) for one in outcomes(k)]


def test_the_family_is_the_stated_one():
    drawn = [tastes(k) for k in range(PAIRS)]
    for band, (low, high) in enumerate(BANDS):
        mine = [one for one in drawn if one.band == band]
        assert len(mine) == 50
        assert all(low <= one.correlation < high for one in mine)
        assert sum(one.uniform for one in mine) == 25
    for one in drawn:
        assert one.rewards.shape == (2, 10, 10)
        assert one.reference.sum(axis=1) == pytest.approx(np.ones(10))
        assert (one.reference > 0.0).all()
    # 20,000 standard normals: a mean square off by 0.06 has a probability below 1e-8.
    majority = np.stack([one.rewards[0] for one in drawn])
    assert np.mean(majority**2) == pytest.approx(1.0, abs=0.06)


def test_the_single_reward_has_everybodys_borda_scores():
    pair = tastes(3)
    p = 1.0 / (1.0 + np.exp(pair.rewards[..., None, :] - pair.rewards[..., :, None]))
    mixed = np.tensordot([0.8, 0.2], p, 1)
    reward = pooled_reward(mixed)
    fitted = 1.0 / (1.0 + np.exp(reward[:, None, :] - reward[:, :, None]))
    assert fitted.sum(axis=2) == pytest.approx(mixed.sum(axis=2), abs=1e-9)


def test_win_rates_are_within_their_ceilings(some):
    for one in some:
        assert one.maxmin_gap <= 1e-10
        for rate in (one.single_minority, one.maxmin_minority, one.own_minority):
            assert 0.0 < rate <= one.ceiling_minority + 1e-12 < 1.0
        assert one.average_change <= one.average_room + 1e-12
        assert one.minority_change <= one.minority_room + 1e-12


def test_with_nobody_in_the_majority_the_single_reward_is_the_minoritys():
    for one in outcomes(0, minorities=(1.0,)):
        assert one.single_minority == pytest.approx(one.own_minority, abs=1e-9)


def test_the_report_has_a_row_for_every_split_and_band(some):
    origin = {"versions": {"numpy": "2"}, "revision": "r", "time": "t", "python": "3"}
    text = report(some, outcomes(0, (0.5, 2.0), (0.2, 0.09)), origin)
    for share in ("80/20", "83/17", "86/14", "91/9"):
        assert text.count(f"| {share}, ρ in") == len(BANDS)
    assert f"{len(some)} instances" in text
    assert len(some) == 8 * len(MINORITIES)
    assert "nan" not in text.lower()


def stored() -> list[Outcome]:
    return [
        Outcome(
            **{
                field.name: row[field.name] == "True"
                if field.type is bool
                else field.type(row[field.name])
                for field in fields(Outcome)
            }
        )
        for row in read_rows(ROOT / "benchmarks/results/headline.csv")
    ]


def is_of_the_claim(one: Outcome) -> bool:
    return (one.majority_strength, one.minority_strength) == (1.0, 1.0)


def test_the_stored_summary_is_what_the_stored_rows_say():
    rows = stored()
    own = [one for one in rows if is_of_the_claim(one)]
    assert [(one.pair, one.minority_share) for one in own] == [
        (k, share) for k in range(PAIRS) for share in MINORITIES
    ]
    others = [one for one in rows if not is_of_the_claim(one)]
    origin = {"versions": {}, "revision": "", "time": "", "python": ""}
    new = report(own, others, origin).split("Revision")[0]
    old = (ROOT / "benchmarks/results/headline.md").read_text().split("Revision")[0]
    assert new == old


def test_the_stored_rows_are_what_is_computed(some):
    rows = {(one.pair, one.minority_share): one for one in stored() if is_of_the_claim(one)}
    for one in some:
        old = asdict(rows[one.pair, one.minority_share])
        assert asdict(one) == pytest.approx(old, rel=1e-5, abs=1e-10)
