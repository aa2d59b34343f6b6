"""Rounds of asking: what is asked, what is kept, and that more of it helps."""

import numpy as np
import pytest
import torch

from nlhf.algorithms.extragradient import Extragradient
from nlhf.certificates import exploitability
from nlhf.errors import HypothesisViolated, InvalidData, NotAllowed
from nlhf.lm.enumerate import Enumeration, TablePreference, leaves
from nlhf.lm.games import LanguageGame
from nlhf.lm.judges.pairs import PreferencePairs
from nlhf.lm.learning.best_of import as_rows
from nlhf.lm.learning.online import Asking, OnlineRun, labelled, learn_online, oracle_of
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.realisers.regression import PairwiseRegression
from nlhf.lm.realisers.trained import Audit
from nlhf.streams import Stream
from tests.lm.tiny import PROMPTS, VOCABULARY, intransitive, moved, tiny_model

LENGTH = 2
LEAVES = VOCABULARY**LENGTH
TRUTH = intransitive(7, 3.0, leaves=LEAVES)
TEMPERATURE = 0.1


class Shares:
    """Shares of votes, shrunk towards 1/2, with the standard deviation of their posterior."""

    def __init__(self, pairs: PreferencePairs) -> None:
        self.wins = np.zeros((len(PROMPTS), LEAVES, LEAVES))
        won = leaves(pairs.chosen, VOCABULARY)[:, 0]
        lost = leaves(pairs.rejected, VOCABULARY)[:, 0]
        np.add.at(self.wins, (np.array(pairs.rows), won, lost), pairs.weights)
        votes = self.wins + self.wins.swapaxes(1, 2)
        share = (self.wins + 1.0) / (votes + 2.0)
        self.share = TablePreference(share, VOCABULARY)
        self.spread = np.sqrt(share * (1.0 - share) / (votes + 3.0))

    def preferences(self, first, second):
        return self.share.preferences(first, second)

    def uncertainty(self, first, second):
        rows = np.array(first.prompts.rows)[:, None, None]
        own, other = leaves(first, VOCABULARY), leaves(second, VOCABULARY)
        return self.spread[rows, own[:, :, None], other[:, None, :]]


ORACLE = oracle_of(
    lambda first, second: TablePreference(TRUTH, VOCABULARY).preferences(first, second)
)


def fit(pairs, stream):
    return Shares(pairs)


class Solver:
    """A few steps of extragradient with all responses listed."""

    def __init__(self, model, iterations: int) -> None:
        self.model, self.iterations = model, iterations
        self.listed = Enumeration(model, PROMPTS, VOCABULARY)

    def game(self, preference, stream):
        optimisation = Optimisation(steps=10, learning_rate=1e-2, planned=20 * self.iterations)
        realiser = PairwiseRegression(
            stream, optimisation, self.listed.draws, audit=Audit(every=10**6)
        )
        return LanguageGame(
            self.model, PROMPTS, preference, TEMPERATURE, realiser, opponents=self.listed.draws
        )

    def __call__(self, preference, start, stream):
        game, method = self.game(preference, stream), Extragradient(2.0)
        state = method.init(game, (start,))
        for step in range(self.iterations):
            state = method.step(game, state, stream.child("step", step))
        return method.profile(state)[0]

    def exploitability(self, policy) -> float:
        game = self.game(TablePreference(TRUTH, VOCABULARY), Stream(0))
        return exploitability(
            self.listed.exact_game(game), (self.listed.policy(policy),)
        ).bound.value


def small_model():
    return tiny_model("llama", 0, torch.float32, limit=LENGTH)


def still(preference, start, stream):
    """A main agent that never moves."""
    return start


def test_a_run_that_goes_on_is_the_run_that_was_never_interrupted():
    model = small_model()
    solver = Solver(model, 1)
    asking = Asking(queries=12, candidates=3, pool=2)

    def learn(rounds: int, before: OnlineRun | None) -> OnlineRun:
        return learn_online(
            model,
            PROMPTS,
            ORACLE,
            fit,
            solver,
            Stream(1),
            rounds=rounds,
            asking=asking,
            before=before,
        )

    through = learn(2, None)
    resumed = learn(2, learn(1, None))
    assert through.policy.key == resumed.policy.key
    for one, other in zip(through.rounds, resumed.rounds, strict=True):
        assert (one.number, one.policy.key) == (other.number, other.policy.key)
        np.testing.assert_equal(one.uncertainty, other.uncertainty)
    for side in ("chosen", "rejected"):
        a, b = (getattr(run.data, side) for run in (through, resumed))
        assert a.prompts.rows == b.prompts.rows
        assert torch.equal(a.tokens, b.tokens)
    sizes = [len(one.answers) for one in through.rounds]
    assert sizes == [12, 12]
    assert len(through.data) == 24


def test_the_most_uncertain_pairs_of_the_pool_are_asked_about():
    model = small_model()
    rounds = learn_online(
        model, PROMPTS, ORACLE, fit, still, Stream(2), rounds=3, asking=Asking(16, 2, 4)
    ).rounds
    assert np.isnan(rounds[0].uncertainty)
    for one in rounds[1:]:
        assert one.uncertainty > one.pool_uncertainty
    everything = learn_online(
        model, PROMPTS, ORACLE, fit, still, Stream(2), rounds=2, asking=Asking(16, 2, 1)
    ).rounds[1]
    assert everything.uncertainty == everything.pool_uncertainty


def test_the_enhancer_beats_the_main_agent_by_the_estimate():
    """Best of 8 of 200 against the estimate: far beyond chance (win rate of 1/2 ± 0.05)."""
    model = small_model()
    asked = []

    def watching(first, second, stream):
        asked.append((first, second))
        return ORACLE(first, second, stream)

    given = labelled(
        *(as_rows(model.sample(model.reference, PROMPTS, 400, Stream(k))) for k in (8, 9)),
        ORACLE,
        Stream(10),
    )
    learn_online(
        model,
        PROMPTS,
        watching,
        fit,
        still,
        Stream(3),
        rounds=1,
        asking=Asking(200, 8, 1),
        data=given,
    )
    first, second = asked[0]
    assert (Shares(given).preferences(second, first).mean()) > 0.55


def test_labels_become_votes_and_questions_without_an_answer_become_none():
    model = small_model()
    first = as_rows(model.sample(model.reference, PROMPTS, 2, Stream(0)))
    second = as_rows(model.sample(model.reference, PROMPTS, 2, Stream(1)))
    labels = np.array([1.0, 0.0, 0.25, np.nan])
    pairs = labelled(first, second, lambda a, b, s: labels, Stream(0))
    assert pairs.rows == (0, 1, 0, 1)
    np.testing.assert_allclose(pairs.weights, [1.0, 0.25, 1.0, 0.75])
    assert torch.equal(
        pairs.chosen.tokens, torch.cat([first.tokens[[0, 2]], second.tokens[[1, 2]]])
    )
    assert labelled(first, second, lambda a, b, s: np.full(4, np.nan), Stream(0)) is None
    assert len(labelled(first, second, lambda a, b, s: np.zeros(4), Stream(0))) == 4


def test_a_simulated_judge_does_not_vote_on_what_is_no_preference():
    model = small_model()
    first = as_rows(model.sample(model.reference, PROMPTS, 1, Stream(0)))
    oracle = oracle_of(lambda a, b: np.array([0.5, np.nan]).reshape(2, 1, 1))
    with pytest.raises(InvalidData, match=r"row 1.*nan, not a probability"):
        oracle(first, first, Stream(0))


def test_bad_answers_are_named_and_nothing_is_asked_in_vain():
    model = small_model()
    first = as_rows(model.sample(model.reference, PROMPTS, 1, Stream(0)))
    with pytest.raises(InvalidData, match=r"row 1.*label 2"):
        labelled(first, first, lambda a, b, s: np.array([0.5, 2.0]), Stream(0))
    with pytest.raises(InvalidData, match="2 pairs"):
        labelled(first, first, lambda a, b, s: np.zeros(3), Stream(0))

    def silent(a, b, s):
        return np.full(len(a.prompts), np.nan)

    with pytest.raises(NotAllowed, match="round 1"):
        learn_online(model, PROMPTS, silent, fit, still, Stream(0), rounds=1)
    run = OnlineRun((), None, model.reference)
    data = labelled(first, first, lambda a, b, s: np.full(2, 0.5), Stream(0))
    with pytest.raises(HypothesisViolated, match="both given"):
        learn_online(model, PROMPTS, ORACLE, fit, still, Stream(0), rounds=1, data=data, before=run)
    with pytest.raises(HypothesisViolated):
        Asking(queries=0)


def test_a_run_can_start_from_any_policy_of_the_model():
    model = small_model()
    policy = moved(model, 3)
    run = learn_online(
        model,
        PROMPTS,
        ORACLE,
        fit,
        still,
        Stream(0),
        rounds=1,
        before=OnlineRun((), None, policy),
        asking=Asking(queries=4),
    )
    assert run.rounds[0].policy.key == run.policy.key == policy.key


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_main_agent_is_less_exploitable_after_more_rounds(seed):
    model = small_model()
    solver = Solver(model, 15)
    run = learn_online(
        model,
        PROMPTS,
        ORACLE,
        fit,
        solver,
        Stream(seed),
        rounds=6,
        asking=Asking(queries=400, candidates=4, pool=2),
    )
    at = [solver.exploitability(one.policy) for one in run.rounds]
    last = solver.exploitability(run.policy)
    assert at[0] > at[1] > last
    assert last < 0.2 * at[0]
