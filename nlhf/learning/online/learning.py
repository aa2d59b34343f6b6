r"""Learning an equilibrium in rounds: estimate, play its equilibrium, ask where it is uncertain.

In round t a main agent plays the equilibrium of the estimate from all answers so far, an explorer
chooses what is compared with it, and m pairs are asked about (OELHF of Ye et al., arXiv 2402.07314,
with its enhancer for explorer). The main agent is certified before the answers of its round, and
once more after all.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path

import numpy as np

from nlhf.data.preference_data import PreferenceData
from nlhf.errors import Degenerate, HypothesisViolated, InvalidProblem
from nlhf.estimation.classes.links import checked_delta
from nlhf.estimation.classes.models import Confidence, PreferenceClass
from nlhf.learning.judging import certified_gap, pessimistic_value, rounding
from nlhf.learning.online.checkpoints import Identity, OnlineCheckpoint, Progress
from nlhf.learning.online.explorers import Enhancer, Explorer, Situation
from nlhf.learning.online.oracles import Oracle, asked
from nlhf.learning.online.runs import OnlineRun, Round, Standing
from nlhf.learning.settings import Setting
from nlhf.learning.uncertainty import Ridge, greatest_uncertainty, uncertainty
from nlhf.results import Bound, Knows, Provenance
from nlhf.streams import Stream


def learn_online(
    setting: Setting,
    preference_class: PreferenceClass,
    oracle: Oracle,
    *,
    rounds: int,
    queries: int,
    explorer: Explorer = Enhancer(),  # noqa: B008  frozen
    delta: float = 0.05,
    ridge: float | None = None,
    stream: Stream = Stream(0),  # noqa: B008  frozen
    checkpoint: Path | str | None = None,
    observe: Callable[[Round], None] | None = None,
) -> OnlineRun:
    r"""Learn an equilibrium policy from comparisons that are asked for in rounds.

    Guarantee: with probability at least 1 - δ, if the class contains the truth, the certified gap
    of every standing bounds the exploitability of its policy in the true game. For
    :math:`\pi_t` with :math:`J_{\hat T_t}(\pi_t, \dagger) \ge -\epsilon`,

    .. math:: -J^*(\pi_t, \dagger) \le \epsilon + \max_\rho |(T^* - \hat T_t)(\pi_t, \rho)|
              \le \epsilon + \sqrt{\lambda + \rho/m}\; \Gamma_t

    (enhancer-certificate). The event is that of all sample sizes at once: it has no share of δ to
    pay for more rounds.

    Args:
        setting: Where policies act.
        preference_class: What the truth is taken to be in.
        oracle: Who answers.
        rounds: T.
        queries: m, questions asked in a round.
        explorer: Who chooses what is compared.
        delta: δ, the probability with which certificates may fail.
        ridge: λ > 0 of the uncertainty, in squared payoff units per m comparisons; by default
            ρ/m, at which λ and the radius weigh the same (where a radius is 0 without data, or
            infinite, the largest squared width takes its place). The larger it is, the less the
            explorer minds what was compared before; certificates hold for any.
        stream: Randomness of questions and answers.
        checkpoint: A file that is replaced after every round. If it is there, the run goes on from
            it, and returns bit by bit what it would have without interruption.
        observe: Called after every round, also with those that a checkpoint remembers.

    Raises:
        HypothesisViolated: If δ is not between 0 and 1, or rounds, queries or ridge not positive.
        InvalidProblem: If class and setting are of different shapes.
        InvalidData: If the oracle's answers are no labels, or no model explains them, or the
            checkpoint is damaged.
        NotAllowed: If the checkpoint is one of another run, or cannot be read or written.

    Warns:
        Degenerate: If a class says so of the answers of all rounds.
    """
    start = time.perf_counter()
    learner = _Learner(setting, preference_class, delta, rounds, queries, ridge)
    file = None
    if checkpoint is not None:
        arguments = f"rounds {rounds}, queries {queries}, delta {delta!r}, ridge {ridge!r}"
        identity = Identity.of(setting, preference_class, oracle, explorer, arguments, stream)
        file = OnlineCheckpoint(Path(checkpoint), identity)
    saved = None if file is None else file.load(setting.shape, preference_class.link)
    progress = learner.nothing_yet() if saved is None else saved
    before = progress.seconds
    if observe is not None:
        for one in progress.rounds:
            observe(one)
    while len(progress.rounds) < rounds:
        with warnings.catch_warnings():
            # That stages have no data yet goes without saying while questions are still asked.
            warnings.simplefilter("ignore", Degenerate)
            progress = learner.after_a_round(progress, explorer, oracle, stream)
        if file is not None:
            file.save(replace(progress, seconds=before + time.perf_counter() - start))
        if observe is not None:
            observe(progress.rounds[-1])
    last, _ = learner.standing(progress.data)
    provenance = Provenance(
        method=f"{explorer!r}, {queries} queries a round",
        iterations=rounds,
        seconds=before + time.perf_counter() - start,
    )
    return OnlineRun(progress.rounds, last, progress.data, queries, provenance)


@dataclass(frozen=True, slots=True, eq=False)
class _Learner:
    """What stays the same in all rounds."""

    setting: Setting
    preference_class: PreferenceClass
    delta: float
    rounds: int
    queries: int
    ridge: float | None

    def __post_init__(self) -> None:
        checked_delta(self.delta)
        for name, number in (("rounds", self.rounds), ("queries", self.queries)):
            whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
            if not (whole and number >= 1):
                raise HypothesisViolated(
                    f"{name} is {number!r}", "give a positive integer; queries are those of a round"
                )
        if self.preference_class.shape != self.setting.shape:
            raise InvalidProblem(
                f"the class has payoffs of shape {self.preference_class.shape} (stages, outcomes), "
                f"the setting is of shape {self.setting.shape}",
                "give a class of models of this setting: contexts and responses in a bandit, steps "
                "and pairs of a state and an action in a decision process",
            )

    def nothing_yet(self) -> Progress:
        """Return where a run begins."""
        reference = self.setting.reference
        pairs = self.setting.draw(reference, reference, 0, Stream(0))
        return Progress((), PreferenceData.of_labels(pairs, np.zeros(0)))

    def after_a_round(
        self, progress: Progress, explorer: Explorer, oracle: Oracle, stream: Stream
    ) -> Progress:
        """Return the progress after one more round."""
        number = len(progress.rounds) + 1
        standing, situation = self.standing(progress.data)
        compared = explorer.compared(situation)
        ridge = Ridge(standing.ridge, self.queries)
        gamma = uncertainty(self.setting, situation.confidence, *compared, ridge)
        done = Round.of(standing, number, compared, min(1.0, gamma**2))
        stream = stream.child("round", number)
        pairs = self.setting.draw(*compared, self.queries, stream.child("questions"))
        answers = asked(oracle, pairs, stream.child("answers"))
        data = progress.data.joined(answers).condensed()
        return Progress((*progress.rounds, done), data, progress.seconds)

    def standing(self, data: PreferenceData) -> tuple[Standing, Situation]:
        """Return the main agent that the answers so far lead to, and what is certain of it."""
        confidence = self.preference_class.confidence(data, self.delta)
        model, units = confidence.model, confidence.model.link.units
        ridge = self.measured(confidence)
        policy = self.setting.solve(model.table)
        doubt = greatest_uncertainty(self.setting, confidence, policy, ridge)
        value = pessimistic_value(self.setting, confidence, policy)
        short = self.setting.exploitability(model.table, policy, units).high
        error = max(0.0, short) + rounding(self.setting, confidence, policy)
        # β is infinite for log-odds beyond 700: no doubt times that is none.
        claim = error + (ridge.beta(confidence) * doubt.gamma if doubt.gamma > 0.0 else 0.0)
        sure = 1.0 - confidence.delta
        certificate = Bound(claim, Knows.UPPER, units, 0.0, claim, sure)
        judged = certified_gap(value)
        standing = Standing(
            answers=data.size,
            model=model,
            policy=policy,
            radius=confidence.radius,
            ridge=ridge.ridge,
            gamma=doubt.gamma,
            certificate=certificate,
            value=value,
            gap=judged if judged.high <= claim else certificate,
        )
        return standing, Situation(self.setting, confidence, policy, doubt)

    def measured(self, confidence: Confidence) -> Ridge:
        """Return how uncertainty is measured."""
        if self.ridge is not None:
            return Ridge(self.ridge, self.queries)
        spread = float(confidence.width.max()) ** 2
        if isfinite(confidence.radius):
            spread = max(confidence.radius, spread)
        return Ridge((spread if spread > 0.0 else 1.0) / self.queries, self.queries)
