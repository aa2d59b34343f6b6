"""Win rates, rewards, KL and length of players, against what lists of all responses say."""

import numpy as np
import pytest

from nlhf.errors import HypothesisViolated, InvalidData
from nlhf.lm.enumerate import Enumeration, TablePreference, TableReward
from nlhf.lm.evaluation import Bootstrap, EvaluationPlan, Player, measured, win_rate
from nlhf.lm.responses import Prompts
from nlhf.streams import Stream
from tests.lm.tiny import HORIZON, LEAVES, VOCABULARY, intransitive, moved, tiny_model

COUNT = 24
PROMPTS = Prompts.of([[i % 4, i // 4 % 4, i // 16] for i in range(COUNT)])


class Setting:
    def __init__(self) -> None:
        self.model = tiny_model("llama", 1)
        self.table = intransitive(3, 3.0, prompts=COUNT)
        self.preference = TablePreference(self.table, VOCABULARY)
        self.rewards = np.random.default_rng(2).normal(size=(COUNT, LEAVES))
        self.one, self.two = moved(self.model, 1), moved(self.model, 2)
        listed = Enumeration(self.model, PROMPTS, VOCABULARY)
        self.laws = {
            name: np.exp(listed.log_probabilities(strategy))
            for name, strategy in (
                ("one", self.one),
                ("two", self.two),
                ("reference", self.model.reference),
            )
        }

    def player(self, name: str) -> Player:
        chosen = {"one": self.one, "two": self.two, "reference": self.model.reference}
        return Player(self.model, chosen[name])


@pytest.fixture(scope="module")
def setting() -> Setting:
    return Setting()


def test_every_measure_is_an_estimate_of_its_definition(setting):
    """The interval of 24 prompts says how far; false alarm: 9 numbers beyond 4.5 errors."""
    plan = EvaluationPlan(
        PROMPTS,
        {"table": setting.preference},
        {"table": TableReward(setting.rewards, VOCABULARY)},
        responses=24,
    )
    names = ("one", "two", "reference")
    table = plan.table({name: setting.player(name) for name in names}, "two", Stream(1))
    assert [row.name for row in table.rows] == list(names)
    assert (table.against, table.prompts, table.responses) == ("two", COUNT, 24)
    other, base = setting.laws["two"], setting.laws["reference"]
    for row in table.rows:
        law = setting.laws[row.name]
        expected = {
            "win rate (table)": np.einsum("xi,xij,xj->x", law, setting.table, other),
            "reward (table)": (law * setting.rewards).sum(axis=1),
            "KL to the reference": (law * np.log(law / base)).sum(axis=1),
            "length": np.full(COUNT, float(HORIZON)),
        }
        assert [one.name for one in row.measures] == list(expected)
        for name, values in expected.items():
            found = measured(row, name)
            assert found.low <= found.value <= found.high
            # Half an interval is about 2 standard errors, those of the prompts among them.
            assert abs(found.value - values.mean()) <= 2.25 * (found.high - found.low) / 2 + 1e-9
    assert measured(table.rows[2], "KL to the reference").value == 0.0


def test_a_player_is_measured_alike_whoever_else_is(setting):
    plan = EvaluationPlan(PROMPTS, {"table": setting.preference}, responses=2)
    alone = plan.table({"one": setting.player("one")}, "one", Stream(0))
    players = {name: setting.player(name) for name in ("two", "one")}
    among = plan.table(players, "one", Stream(0))
    assert alone.rows[0] == among.rows[1]


def test_win_rates_of_two_models_add_up_to_one_with_their_players_swapped(setting):
    other = tiny_model("gpt2", 5)
    first, second = setting.player("one"), Player(other, other.reference)
    bound = win_rate(first, second, PROMPTS, setting.preference, Stream(3), responses=3)

    class Turned:
        def preferences(self, a, b):
            return 1.0 - setting.preference.preferences(a, b)

    turned = win_rate(first, second, PROMPTS, Turned(), Stream(3), responses=3)
    assert bound.value + turned.value == pytest.approx(1.0, abs=1e-12)
    assert bound.low + turned.high == pytest.approx(1.0, abs=1e-12)
    assert bound.confidence == 0.95


def test_bootstrap_intervals_cover_a_mean_as_often_as_they_say():
    """400 samples of 60 normal numbers: percentile intervals cover a little less than nominal."""
    generator = np.random.default_rng(0)
    chosen = Bootstrap(confidence=0.9, replicates=400)
    ends = [chosen.ends(generator.normal(size=60), Stream(0).child("run", i)) for i in range(400)]
    covered = np.mean([low <= 0.0 <= high for low, high in ends])
    assert 0.83 < covered < 0.95


def test_one_prompt_says_nothing_of_others(setting):
    found = win_rate(
        setting.player("one"),
        setting.player("two"),
        PROMPTS.take([0]),
        setting.preference,
        Stream(0),
    )
    assert (found.low, found.high) == (-np.inf, np.inf)


def test_what_makes_no_sense_is_refused(setting):
    plan = EvaluationPlan(PROMPTS, {"table": setting.preference}, responses=1)
    with pytest.raises(HypothesisViolated, match="nobody is called 'three'"):
        plan.table({"one": setting.player("one")}, "three", Stream(0))
    with pytest.raises(HypothesisViolated, match="confidence"):
        Bootstrap(confidence=1.0)
    with pytest.raises(HypothesisViolated, match="responses"):
        EvaluationPlan(PROMPTS, responses=0)
    row = plan.table({"one": setting.player("one")}, "one", Stream(0)).rows[0]
    with pytest.raises(HypothesisViolated, match="choose from win rate"):
        measured(row, "wins")

    class Loud:
        def preferences(self, a, b):
            return np.full((*a.shape, b.shape[1]), 1.5)

    with pytest.raises(InvalidData, match="row 0"):
        win_rate(setting.player("one"), setting.player("two"), PROMPTS, Loud(), Stream(0))
