"""Learning in rounds on a language model: fit, play an equilibrium, ask where it is uncertain.

In every round a preference model is fitted to all answers so far, a main agent is trained to its
equilibrium, an enhancer answers with the best of several of the main agent's responses, and the
judge is asked about pairs of the two (the practical form of Ye et al., arXiv 2402.07314, section 5;
`nlhf.learning.online` is the one with guarantees). Nothing is certified here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Float64

from nlhf.errors import HypothesisViolated, InvalidData, NotAllowed
from nlhf.lm.judges.base import checked_preferences
from nlhf.lm.judges.pairs import PreferencePairs, joined_pairs
from nlhf.lm.learning.best_of import as_rows, best_of
from nlhf.lm.model import LanguageModel
from nlhf.lm.responses import Prompts, Responses
from nlhf.lm.strategies import Strategy
from nlhf.streams import Stream


@runtime_checkable
class UncertainPreference(Protocol):
    """A preference model that knows where it is unsure, such as a `PreferenceEnsemble`."""

    def preferences(
        self, first: Responses, second: Responses
    ) -> Float64[np.ndarray, "prompt first second"]:
        """Return the estimate of P(first i ≻ second j | x)."""
        ...

    def uncertainty(
        self, first: Responses, second: Responses
    ) -> Float64[np.ndarray, "prompt first second"]:
        """Return how far the members disagree, in win probability."""
        ...


Oracle = Callable[[Responses, Responses, Stream], Float[np.ndarray, " pair"]]
"""Who is asked: for one response each to every prompt, 1 if the first is preferred, 0 if the
second, a number in between for a tie or a share of votes, NaN for no answer."""

Fit = Callable[[PreferencePairs, Stream], UncertainPreference]
"""What makes an estimate of all answers so far."""

Solve = Callable[[UncertainPreference, Strategy, Stream], Strategy]
"""What trains the main agent to the estimate's equilibrium, from the main agent before."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked in a round.

    Attributes:
        queries: m, pairs asked about.
        candidates: n, responses of the main agent that the enhancer's is the best of.
        pool: Pairs made for every one asked about: those are asked about on which the estimate is
            most uncertain. 1 asks about all that are made.

    Raises:
        HypothesisViolated: If a number is not positive.
    """

    queries: int = 64
    candidates: int = 4
    pool: int = 2

    def __post_init__(self) -> None:
        if min(self.queries, self.candidates, self.pool) < 1:
            raise HypothesisViolated(f"{self} makes no sense", "pass numbers of at least 1")


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """One round.

    Attributes:
        number: From 1.
        policy: The main agent, trained to the equilibrium of the answers before this round.
        uncertainty: Mean uncertainty of the pairs asked about, in win probability; NaN in a first
            round without an estimate.
        pool_uncertainty: The same of all pairs made.
        answers: The answered pairs; those unanswered are not among them.
    """

    number: int
    policy: Strategy
    uncertainty: float
    pool_uncertainty: float
    answers: PreferencePairs


@dataclass(frozen=True, slots=True, eq=False)
class OnlineRun:
    """Rounds so far: pass it on to go on from here.

    Attributes:
        rounds: The rounds.
        data: All answers, the given ones first; `None` if there is none yet.
        policy: The main agent trained to all of them.
    """

    rounds: tuple[Round, ...]
    data: PreferencePairs | None
    policy: Strategy


def learn_online(
    model: LanguageModel,
    prompts: Prompts,
    oracle: Oracle,
    fit: Fit,
    solve: Solve,
    stream: Stream,
    *,
    rounds: int,
    asking: Asking | None = None,
    data: PreferencePairs | None = None,
    before: OnlineRun | None = None,
    observe: Callable[[Round], None] | None = None,
) -> OnlineRun:
    """Learn an equilibrium from comparisons that are asked for in rounds.

    Round t asks about the main agent of the answers before it; after the last round the main agent
    is trained once more. Without data a first round compares the reference with itself. All
    randomness is that of the round's number, so that a run that goes on from `before` is the run
    that was never interrupted, provided that `fit` and `solve` depend on their arguments only.

    Guarantee: none. The enhancer is the best of n of the main agent by the estimate, not the
    competitor of largest uncertainty, and disagreement of an ensemble is no confidence set. Judge
    the result by held-out win rates and `deviation_gain`.

    Args:
        model: The model of the main agent; where the strategies are played.
        prompts: What is asked about: a random part in every round, or all several times.
        oracle: The judge.
        fit: From all answers so far to an estimate.
        solve: From an estimate to a main agent.
        stream: Randomness.
        rounds: Rounds to have been taken in the end, those of `before` among them.
        asking: What is asked in a round.
        data: Answers that there are already.
        before: A run to go on from; it holds its data.
        observe: Told of every round when its answers are in.

    Raises:
        HypothesisViolated: If `data` and `before` are both given.
        InvalidData: If the judge does not give one label a pair, or one that is not in [0, 1].
        NotAllowed: If nothing at all was answered.
    """
    if data is not None and before is not None:
        raise HypothesisViolated(
            "data and a run to go on from are both given", "the run holds its data: pass only it"
        )
    asking = Asking() if asking is None else asking
    past = OnlineRun((), data, model.reference) if before is None else before
    done = list(past.rounds)
    kept, policy, estimate = past.data, past.policy, None
    if kept is not None:
        estimate = fit(kept, stream.child("fit", len(done)))
        if before is None:
            policy = solve(estimate, policy, stream.child("solve", len(done)))
    for number in range(len(done) + 1, rounds + 1):
        here = stream.child("round", number)
        asked = _asked(model, prompts, policy, estimate, asking, here)
        answers = labelled(asked.first, asked.second, oracle, here.child("oracle"))
        if answers is not None:
            kept = answers if kept is None else joined_pairs(kept, answers)
        if kept is None or answers is None:
            raise NotAllowed(
                f"none of the {len(asked.first.prompts)} questions of round {number} was answered",
                "ask a judge that answers at least some",
            )
        done.append(Round(number, policy, asked.uncertainty, asked.pool_uncertainty, answers))
        if observe is not None:
            observe(done[-1])
        estimate = fit(kept, stream.child("fit", number))
        policy = solve(estimate, policy, stream.child("solve", number))
    return OnlineRun(tuple(done), kept, policy)


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """Pairs to ask about, one response each a prompt."""

    first: Responses
    second: Responses
    uncertainty: float
    pool_uncertainty: float


def _asked(
    model: LanguageModel,
    prompts: Prompts,
    policy: Strategy,
    estimate: UncertainPreference | None,
    asking: Asking,
    stream: Stream,
) -> _Asked:
    """Return the main agent's responses with the enhancer's, where the estimate is least sure."""
    made = asking.queries * (1 if estimate is None else asking.pool)
    each = -(-made // len(prompts))
    order = stream.child("prompts").generator().permutation(len(prompts))
    chosen = prompts.take(np.sort(order[: -(-made // each)]).tolist())
    own = model.sample(policy, chosen, each, stream.child("main"))
    if estimate is None:
        other = model.sample(policy, chosen, each, stream.child("enhancer"))
        first, second = as_rows(own), as_rows(other)
        kept = stream.child("kept").generator().permutation(len(first.prompts))
        places = np.sort(kept[: asking.queries]).tolist()
        return _Asked(first.take(places), second.take(places), float("nan"), float("nan"))
    other = best_of(
        model,
        policy,
        chosen,
        each,
        stream.child("enhancer"),
        candidates=asking.candidates,
        preference=estimate,
    )
    first, second = as_rows(own), as_rows(other)
    doubt = estimate.uncertainty(first, second).reshape(-1)
    places = np.sort(np.argsort(-doubt, kind="stable")[: asking.queries]).tolist()
    return _Asked(
        first.take(places), second.take(places), float(doubt[places].mean()), float(doubt.mean())
    )


def labelled(
    first: Responses, second: Responses, oracle: Oracle, stream: Stream
) -> PreferencePairs | None:
    """Ask about pairs and return what was answered; a label p is p votes one way, 1 - p the other.

    Args:
        first: One response to every prompt.
        second: Likewise.
        oracle: The judge.
        stream: Its randomness.

    Raises:
        InvalidData: If it does not give one label a pair, or one that is not in [0, 1]; names the
            row.
    """
    labels = np.asarray(oracle(first, second, stream), dtype=np.float64)
    fix = "answer 1 if the first is preferred, 0 if the second, 1/2 for a tie, NaN for none"
    count = len(first.prompts)
    if labels.shape != (count,):
        raise InvalidData(f"{count} pairs got labels of shape {labels.shape}", fix)
    wrong = (labels < 0.0) | (labels > 1.0)
    if wrong.any():
        at = int(np.argmax(wrong))
        row = first.prompts.rows[at]
        raise InvalidData(f"row {row}: the pair got the label {labels[at]:g}", fix)
    won, lost = np.flatnonzero(labels > 0.0), np.flatnonzero(labels < 1.0)
    parts = [
        PreferencePairs.of(a.take(at.tolist()), b.take(at.tolist()), weights=votes[at])
        for a, b, at, votes in ((first, second, won, labels), (second, first, lost, 1.0 - labels))
        if len(at)
    ]
    if not parts:
        return None
    return parts[0] if len(parts) == 1 else joined_pairs(parts[0], parts[1])


def oracle_of(preference: Callable[[Responses, Responses], np.ndarray]) -> Oracle:
    """Return an oracle that answers with one vote, drawn from a preference: a simulated judge.

    The oracle raises `InvalidData`, which names the row, if an answer is no probability.
    """

    def vote(first: Responses, second: Responses, stream: Stream) -> np.ndarray:
        answers = np.asarray(preference(first, second)).reshape(len(first.prompts), 1, 1)
        likely = checked_preferences(answers, first, second).reshape(-1)
        return (stream.generator().random(len(likely)) < likely).astype(np.float64)

    return vote
