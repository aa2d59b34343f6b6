"""How strategies compare: win rates, rewards, KL to the reference and length, with intervals.

All intervals are percentile bootstraps over prompts: a strategy is judged on prompts like these,
not on these prompts. Responses to a prompt are averaged first; their randomness is in the spread of
the prompts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float

from nlhf.errors import HypothesisViolated
from nlhf.lm.judges.base import (
    PreferenceModel,
    RewardModel,
    checked_preferences,
    checked_rewards,
)
from nlhf.lm.model import LanguageModel
from nlhf.lm.responses import Prompts, Responses
from nlhf.lm.strategies import Strategy
from nlhf.results import Bound, Knows, Units
from nlhf.streams import Stream

TOKENS = "tokens"
"""The unit of lengths."""


@dataclass(frozen=True, slots=True, eq=False)
class Player:
    """A strategy on its language model.

    Attributes:
        model: The language model. Judges read tokens, so all players share one tokenizer.
        strategy: What it plays.
    """

    model: LanguageModel
    strategy: Strategy


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals over prompts are made.

    Attributes:
        confidence: Two-sided, in (0, 1).
        replicates: Samples of prompts with replacement.

    Raises:
        HypothesisViolated: If a number is out of range.
    """

    confidence: float = 0.95
    replicates: int = 2000

    def __post_init__(self) -> None:
        if not (0.0 < self.confidence < 1.0 and self.replicates >= 1):
            raise HypothesisViolated(
                f"{self} makes no sense", "give a confidence in (0, 1) and at least 1 replicate"
            )

    def ends(self, values: Float[np.ndarray, "prompt"], stream: Stream) -> tuple[float, float]:
        """Return the ends of the interval of the mean; infinite ones for a single prompt."""
        count = len(values)
        if count < 2:
            return -math.inf, math.inf
        generator, means = stream.generator(), np.empty(self.replicates)
        at_once = max(1, 1_000_000 // count)
        for start in range(0, self.replicates, at_once):
            size = min(at_once, self.replicates - start)
            drawn = generator.integers(count, size=(size, count))
            means[start : start + size] = values[drawn].mean(axis=1)
        tail = (1.0 - self.confidence) / 2.0
        low, high = np.quantile(means, [tail, 1.0 - tail])
        mean = float(values.mean())
        return min(float(low), mean), max(float(high), mean)

    def bound(self, values: Float[np.ndarray, "prompt"], units: Units, stream: Stream) -> Bound:
        """Return the mean over prompts with its interval."""
        low, high = self.ends(values, stream)
        return Bound(float(values.mean()), Knows.INTERVAL, units, low, high, self.confidence)


@dataclass(frozen=True, slots=True)
class Measure:
    """One number of the table, with its interval over prompts.

    Attributes:
        name: What it is.
        unit: In what.
        value: The mean over prompts.
        low: Lower end of its interval.
        high: Upper end.
    """

    name: str
    unit: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """What was measured of one player.

    Attributes:
        name: The player's.
        measures: In the same order in every row: win rates, rewards, KL to the reference, length.
    """

    name: str
    measures: tuple[Measure, ...]


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationTable:
    """Players side by side.

    Attributes:
        rows: One per player.
        against: Whom win rates are over.
        prompts: Number of prompts.
        responses: Number of responses of every player to each.
        confidence: Of every interval on its own.
    """

    rows: tuple[EvaluationRow, ...]
    against: str
    prompts: int
    responses: int
    confidence: float


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationPlan:
    """What players are judged by.

    Attributes:
        prompts: The prompts; held out from training.
        preferences: Judges by name, such as one per group.
        rewards: Reward models by name.
        responses: Responses of every player to each prompt.
        bootstrap: How intervals are made.
    """

    prompts: Prompts
    preferences: Mapping[str, PreferenceModel] = field(default_factory=dict)
    rewards: Mapping[str, RewardModel] = field(default_factory=dict)
    responses: int = 4
    bootstrap: Bootstrap = field(default_factory=Bootstrap)

    def __post_init__(self) -> None:
        if self.responses < 1:
            raise HypothesisViolated(f"{self.responses} responses", "ask for at least 1")

    def table(self, players: Mapping[str, Player], against: str, stream: Stream) -> EvaluationTable:
        """Return every player's win rate over one of them, rewards, KL to its reference, length.

        Players answer independently of each other; the one that all are compared with plays
        against an independent sample of its own.

        Args:
            players: By name.
            against: The name of the one that all are compared with.
            stream: Randomness; a player's responses depend on its name, not on the other players.

        Raises:
            HypothesisViolated: If nobody has that name.
            InvalidData: If a judge or reward model answers out of range; names the row.
        """
        if against not in players:
            raise HypothesisViolated(
                f"nobody is called {against!r}", f"choose from {', '.join(map(repr, players))}"
            )
        opponents = self._answers(players[against], stream.child("opponents", against))
        rows = tuple(
            EvaluationRow(name, self._measures(name, player, opponents, stream))
            for name, player in players.items()
        )
        confidence = self.bootstrap.confidence
        return EvaluationTable(rows, against, len(self.prompts), self.responses, confidence)

    def _answers(self, player: Player, stream: Stream) -> Responses:
        return player.model.sample(player.strategy, self.prompts, self.responses, stream)

    def _measures(
        self, name: str, player: Player, opponents: Responses, stream: Stream
    ) -> tuple[Measure, ...]:
        own = self._answers(player, stream.child("own", name))
        found: list[tuple[str, str, np.ndarray]] = []
        for who, preference in self.preferences.items():
            wins = _wins(preference, own, opponents)
            found.append((f"win rate ({who})", str(Units.WIN_PROBABILITY), wins))
        for who, reward in self.rewards.items():
            values = checked_rewards(reward.rewards(own), own).mean(axis=1)
            found.append((f"reward ({who})", str(Units.PAYOFF), values))
        found.append(("KL to the reference", str(Units.NATS), _divergences(player, own)))
        lengths = own.lengths.double().mean(dim=1).cpu().numpy()
        found.append(("length", TOKENS, lengths))
        bootstrap = stream.child("bootstrap")  # of the same prompts for all: rows are comparable
        return tuple(
            Measure(label, unit, float(values.mean()), *self.bootstrap.ends(values, bootstrap))
            for label, unit, values in found
        )


def win_rate(
    first: Player,
    second: Player,
    prompts: Prompts,
    preference: PreferenceModel,
    stream: Stream,
    *,
    responses: int = 4,
    bootstrap: Bootstrap | None = None,
) -> Bound:
    """Return how often the first player's responses are preferred, with its interval over prompts.

    Every response of one is compared with every response of the other.

    Args:
        first: One player.
        second: The other; the two may have different models with one tokenizer.
        prompts: The prompts.
        preference: The judge.
        stream: Randomness.
        responses: Responses of each to every prompt.
        bootstrap: How the interval is made.

    Raises:
        InvalidData: If the judge answers with something else than a probability; names the row.
    """
    own = first.model.sample(first.strategy, prompts, responses, stream.child("first"))
    other = second.model.sample(second.strategy, prompts, responses, stream.child("second"))
    chosen = Bootstrap() if bootstrap is None else bootstrap
    wins = _wins(preference, own, other)
    return chosen.bound(wins, Units.WIN_PROBABILITY, stream.child("bootstrap"))


def _wins(
    preference: PreferenceModel, own: Responses, other: Responses
) -> Float[np.ndarray, "prompt"]:
    found = checked_preferences(preference.preferences(own, other), own, other)
    return np.asarray(found.mean(axis=(1, 2)))


def _divergences(player: Player, own: Responses) -> Float[np.ndarray, "prompt"]:
    """Return unbiased estimates of KL(π‖μ) per prompt, never negative."""
    model = player.model
    ratio = model.log_probabilities(player.strategy, own) - model.log_probabilities(
        model.reference, own
    )
    values: torch.Tensor = (torch.expm1(-ratio) + ratio).mean(dim=1)
    return np.asarray(values.cpu().numpy())


def measured(row: EvaluationRow, name: str) -> Measure:
    """Return the measure of a name.

    Raises:
        HypothesisViolated: If there is none.
    """
    for one in row.measures:
        if one.name == name:
            return one
    names: Sequence[str] = [one.name for one in row.measures]
    raise HypothesisViolated(f"{name!r} was not measured", f"choose from {', '.join(names)}")
