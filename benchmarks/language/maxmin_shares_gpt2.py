r"""Both groups' win rates of trained GPT-2s, under the single reward and MaxMin, over shares.

Written down before the first run, and not changed after. Instances k = 0 ... 4, randomness from
``Stream(2026).child("maxmin shares", k)``. The models are the GPT-2s at their random start of
`benchmarks.language.enumerable_games`: four tokens, two prompts, responses of three tokens, 64 to
each prompt, so that every number here is exact but for the training. The majority's reward is a sum
of random values of the tokens in their places and of the pairs of neighbours, scaled to standard
deviation 1 logit over the responses to a prompt; the minority's is :math:`\rho r_1 +
\sqrt{1-\rho^2}\, z`, ρ = -3/4, with z made likewise. Temperature 0.3 logits.

* ``single``: the Bradley-Terry rewards of largest population likelihood for the mixture of both
  groups' votes at minority shares of 0.05, 0.1, 0.2, ... 0.5, pursued by mirror descent.
* ``maxmin``: the MaxMin game of both rewards, counted from the reference, by extragradient. It
  knows no shares.

Proximal steps are realised by pairwise regression on all responses, 400 steps of Adam in a run.
Win rates are against the reference, of the trained model (``GPT-2``) and of the exact solution
(``exact``); ``maxmin_shares_gpt2.csv`` has their mean, least and largest over the instances.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import nlhf
from benchmarks.language.enumerable_games import HORIZON, PROMPTS, VOCABULARY, EnumerableGame
from benchmarks.provenance import LANGUAGE_PACKAGES
from benchmarks.sizes import Size
from benchmarks.studies.headline import pooled_reward
from benchmarks.tables import write_table
from nlhf.algorithms.extragradient import Extragradient
from nlhf.algorithms.mirror_descent import MirrorDescent
from nlhf.games.group_rewards import Offsets
from nlhf.lm.enumerate import Enumeration, TableReward
from nlhf.lm.games import RewardGame
from nlhf.lm.maxmin import LanguageMaxMinGame, exact_maxmin
from nlhf.lm.model import LanguageModel
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.realisers.regression import PairwiseRegression
from nlhf.lm.realisers.trained import Audit
from nlhf.protocols import Algorithm
from nlhf.streams import Stream

STREAM = Stream(2026).child("maxmin shares")
INSTANCES = 5
SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
CORRELATION, TEMPERATURE = -0.75, 0.3
LEARNING_RATE, OPTIMISER_STEPS = 0.01, 400
SINGLE: tuple[Algorithm[Any], int, int] = (MirrorDescent(4.0), 10, 1)
MAXMIN: tuple[Algorithm[Any], int, int] = (Extragradient(1.0, unproven=True), 20, 2)
"""The method, its iterations, and proximal steps of the policy in each."""
GROUPS = ("majority", "minority")


@dataclass(frozen=True, slots=True)
class Rate:
    """A group's win rate against the reference, over instances.

    Attributes:
        share: Of the minority.
        policy: ``single`` or ``maxmin``.
        realised: ``GPT-2`` or ``exact``.
        group: Whose win rate.
        instances: How many.
        mean: Over them.
        least: Of them.
        largest: Of them.
    """

    share: float
    policy: str
    realised: str
    group: str
    instances: int
    mean: float
    least: float
    largest: float


@dataclass(frozen=True, slots=True, eq=False)
class Instance:
    """A model with two groups.

    Attributes:
        stream: Its randomness.
        model: The language model.
        bridge: All its responses.
        rewards: Of the groups, shape ``(2, X, n)``, in logits.
        reference: Log-probabilities of all responses, shape ``(X, n)``.
    """

    stream: Stream
    model: LanguageModel
    bridge: Enumeration
    rewards: np.ndarray
    reference: np.ndarray

    @classmethod
    def numbered(cls, k: int) -> "Instance":
        """Draw the k-th instance."""
        stream, model = STREAM.child(k), EnumerableGame(2 * k).model()
        bridge = Enumeration(model, PROMPTS, VOCABULARY)
        first, other = (_reward(stream.child("reward", group)) for group in GROUPS)
        second = CORRELATION * first + np.sqrt(1.0 - CORRELATION**2) * other
        reference = bridge.log_probabilities(model.reference)
        return cls(stream, model, bridge, np.stack([first, second]), reference)

    @property
    def preferences(self) -> np.ndarray:
        """P of both groups, shape ``(2, X, n, n)``."""
        r = self.rewards
        return np.asarray(1.0 / (1.0 + np.exp(r[..., None, :] - r[..., :, None])))

    def win_rates(self, logs: np.ndarray) -> np.ndarray:
        """Return both groups' win rates of a policy's log-probabilities."""
        policy, reference = np.exp(logs), np.exp(self.reference)
        return np.asarray(
            np.einsum("xi,uxij,xj->u", policy, self.preferences, reference) / len(policy)
        )

    def realiser(self, iterations: int, trained: int, *purpose: object) -> PairwiseRegression:
        """Return what carries out the proximal steps of a run."""
        steps = OPTIMISER_STEPS // (iterations * trained)
        return PairwiseRegression(
            self.stream.child("realiser", *purpose),
            Optimisation(steps=steps, learning_rate=LEARNING_RATE, planned=OPTIMISER_STEPS),
            self.bridge.draws,
            audit=Audit(self.bridge.draws, every=1_000_000),
        )

    def single(self, share: float) -> dict[str, np.ndarray]:
        """Return win rates of the single reward's policy, trained and exact."""
        pooled = pooled_reward(np.tensordot([1.0 - share, share], self.preferences, 1))
        algorithm, iterations, trained = SINGLE
        game = RewardGame(
            self.model,
            PROMPTS,
            TableReward(pooled, VOCABULARY),
            TEMPERATURE,
            self.realiser(iterations, trained, "single", share),
        )
        exact = self.reference + pooled / TEMPERATURE
        return {
            "GPT-2": self.win_rates(self._trained(game, algorithm, iterations)),
            "exact": self.win_rates(exact - np.logaddexp.reduce(exact, axis=1, keepdims=True)),
        }

    def maxmin(self) -> dict[str, np.ndarray]:
        """Return win rates of the MaxMin policy, trained and exact."""
        algorithm, iterations, trained = MAXMIN
        game = LanguageMaxMinGame(
            self.model,
            PROMPTS,
            [TableReward(reward, VOCABULARY) for reward in self.rewards],
            TEMPERATURE,
            self.realiser(iterations, trained, "maxmin"),
            draws=self.bridge.draws,
            offsets=Offsets.REFERENCE,
        )
        policy = nlhf.solve(exact_maxmin(self.bridge, game)).profile[0]
        return {
            "GPT-2": self.win_rates(self._trained(game, algorithm, iterations)),
            "exact": self.win_rates(
                self.bridge.tree.leaf_log_probabilities(policy.log_probabilities)
            ),
        }

    def _trained(self, game: Any, algorithm: Algorithm[Any], iterations: int) -> np.ndarray:
        state, stream = algorithm.init(game, game.start()), self.stream.child("run")
        for k in range(iterations):
            state = algorithm.step(game, state, stream.child("step", k))
        return self.bridge.log_probabilities(algorithm.profile(state)[0])


def _reward(stream: Stream) -> np.ndarray:
    """Return a reward of all responses to both prompts, of mean 0 and standard deviation 1."""
    generator = stream.generator()
    tokens = np.stack(np.meshgrid(*[range(VOCABULARY)] * HORIZON, indexing="ij"), axis=-1)
    tokens = tokens.reshape(-1, HORIZON)
    rewards = np.zeros((len(PROMPTS), len(tokens)))
    for row in rewards:
        for place in range(HORIZON):
            row += generator.normal(size=VOCABULARY)[tokens[:, place]]
        for place in range(HORIZON - 1):
            table = 0.5 * generator.normal(size=(VOCABULARY, VOCABULARY))
            row += table[tokens[:, place], tokens[:, place + 1]]
    centred = rewards - rewards.mean(axis=1, keepdims=True)
    return np.asarray(centred / centred.std(axis=1, keepdims=True))


def rates(instances: int, shares: tuple[float, ...]) -> Iterator[Rate]:
    """Yield all rows."""
    every = [Instance.numbered(k) for k in range(instances)]
    fair = [one.maxmin() for one in every]
    for share in shares:
        found = {"single": [one.single(share) for one in every], "maxmin": fair}
        for policy, outcomes in found.items():
            for realised in ("GPT-2", "exact"):
                values = np.stack([one[realised] for one in outcomes])
                for group, column in zip(GROUPS, values.T, strict=True):
                    ends = float(column.min()), float(column.max())
                    mean = float(column.mean())
                    yield Rate(share, policy, realised, group, len(every), mean, *ends)


def record(folder: Path, size: Size) -> None:
    """Write ``maxmin_shares_gpt2.csv``."""
    torch.set_num_threads(1)
    shares = SHARES[: size.pick(1, len(SHARES))]
    rows = list(rates(size.pick(1, INSTANCES), shares))
    write_table(folder / "maxmin_shares_gpt2.csv", rows, *LANGUAGE_PACKAGES)
