"""What exact tilts of the reference would reach at each divergence, on the pilot's seed.

No policy is trained: 64 responses of the reference to each prompt are reweighted by
:math:`e^{t r}`, which is the optimal policy of reward r restricted to them. Of 64 responses that
says little beyond 2 nats.
"""

import json
from dataclasses import astuple, dataclass

import numpy as np

from benchmarks.language.movie_reviews.evaluation import win_rates
from benchmarks.language.movie_reviews.experiment import Trial
from benchmarks.language.movie_reviews.raters import Qualities, qualities
from benchmarks.tables import write_whole
from nlhf.numerics import log_normalise

BUDGETS = (0.25, 0.5, 1.0, 1.5, 2.0)
CANDIDATES, PROMPTS = 64, 100


@dataclass(frozen=True, slots=True)
class Point:
    """Win rates of the single reward's and the MaxMin policy at one divergence, in nats."""

    divergence: float
    single: tuple[float, float]
    maxmin: tuple[float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Responses of the reference with what they are worth.

    Attributes:
        seen: By the judges.
        single: The single reward, shape ``(prompt, response)``.
        groups: The groups' rewards, shape ``(group, prompt, response)``.
    """

    seen: Qualities
    single: np.ndarray
    groups: np.ndarray

    @classmethod
    def of(cls, trial: Trial) -> "Candidates":
        """Draw them for evaluation prompts."""
        model, corpus = trial.corpus.model, trial.corpus
        prompts = corpus.prompts(corpus.parts.held_out)
        drawn = model.sample(
            model.reference,
            prompts.take(range(min(PROMPTS, len(prompts)))),
            CANDIDATES,
            trial.stream.child("frontier"),
        )
        rewards = [reward.rewards(drawn) for reward in trial.rewards(trial.mixture)]
        seen = qualities(drawn, model.texts, corpus.judge)
        return cls(seen, trial.pooled.rewards(drawn), np.stack(rewards))

    def rates(self, policy: np.ndarray) -> tuple[float, float]:
        """Return both groups' win rates of probabilities of the responses."""
        found = []
        for values in (self.seen.sentiment, -self.seen.words):
            wins = [win_rates(v[:, None], np.broadcast_to(v, (v.size, v.size))) for v in values]
            found.append(float((policy * np.stack(wins)).sum(axis=1).mean()))
        return found[0], found[1]

    def gains(self, policy: np.ndarray) -> np.ndarray:
        """Return what every group's mean reward gains over the reference."""
        return np.asarray(((policy - 1.0 / CANDIDATES) * self.groups).sum(axis=2).mean(axis=1))


def tilt(reward: np.ndarray, divergence: float) -> np.ndarray:
    """Return the probabilities, proportional to e^(t r), with this mean KL to uniform ones."""
    low, high = 0.0, 100.0
    for _ in range(50):
        middle = (low + high) / 2.0
        logs = log_normalise(middle * reward)
        kl = (np.exp(logs) * logs).sum(axis=1).mean() + np.log(reward.shape[1])
        low, high = (middle, high) if kl < divergence else (low, middle)
    return np.exp(log_normalise(low * reward))


def fair_tilt(groups: np.ndarray, found: Candidates, divergence: float) -> np.ndarray:
    """Return the tilt by a weighted reward of two groups under which both gain the same."""
    low, high = 0.0, 1.0
    for _ in range(30):
        weight = (low + high) / 2.0
        policy = tilt((1.0 - weight) * groups[0] + weight * groups[1], divergence)
        gains = found.gains(policy)
        low, high = (weight, high) if gains[1] < gains[0] else (low, weight)
    return policy


def frontier(trial: Trial) -> list[Point]:
    """Return the points of all budgets, from disk if they are there."""
    path = trial.folder / "frontier.json"
    if path.is_file():
        return [Point(*each) for each in json.loads(path.read_text("utf-8"))]
    points = _points(trial)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps([astuple(point) for point in points]))
    return points


def _points(trial: Trial) -> list[Point]:
    found = Candidates.of(trial)
    return [
        Point(
            budget,
            found.rates(tilt(found.single, budget)),
            found.rates(fair_tilt(found.groups, found, budget)),
        )
        for budget in BUDGETS
    ]
