"""The families of problems of the learning studies: what is true, what is possible, what is asked.

They were written down before anything was run on them; which study uses which is said in
`learning_offline` and `learning_online`. All randomness is from named streams of one seed.

**Scales** (``bandit``, ``process``). The truth is skew with entries above the diagonal uniform in
[-0.4, 0.4]. Of K models one is the truth, at a random place; the others are at the truth plus r D,
with D a direction of independent normal entries and root mean square 1 (each model its own), r
log-uniform in [0.001, 0.3], and payoffs cut to [-0.45, 0.45]. So at every sample size some models
are just about what data can tell from the truth, and hardly ever is the truth identified. Payoffs
are win probabilities less 1/2, references uniform, τ = 0.1.

* ``bandit``: X = 4 prompts, n = 6 responses, K = 1000.
* ``process``: S = 3 states, A = 2 actions, H = 3 steps, transitions and initial state
  Dirichlet(1, ..., 1), trajectories compared, K = 100.

**Rivals** (``rivals``). One prompt; a safe response and 8 rivals; τ = 0.02. The safe response ties
with every rival up to 0.05 either way, uniformly; of two rivals one wins by 0.2 to 0.45, uniformly,
and which one is a coin. K = 1000 independent tables of this law, one of which is the truth. Whether
rivals are good depends on comparisons between rivals.

**Traps** (``traps``). X = 2 prompts, n = 8 responses, τ = 0.05. In each prompt 4 random responses
may be traps, each with probability 1/2 independently. A trap loses by 0.3 to 0.4 to every other
response that is none; a suspect that is none wins by as much against the 4 that are no suspects;
all else ties up to 0.1 either way, uniformly. K = 256, all combinations, in random order, the truth
at random.

**Dense** (``dense``). X = 2 prompts, n = 8 responses, τ = 0.05, K = 256 independent tables with
entries uniform in [-0.45, 0.45], one of which is the truth: every comparison says something of
every model.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

import nlhf
from nlhf.data.preference_data import Pairs, PreferenceData
from nlhf.estimation.classes.finite import FiniteClass
from nlhf.learning.bandits import BanditSetting
from nlhf.learning.processes import MarkovSetting
from nlhf.learning.settings import Setting

Table = Float[np.ndarray, "stage outcome outcome"]


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A setting, a class, and the model of it that is true.

    Attributes:
        setting: Where policies act.
        models: The class.
        true: The place of the truth in it.
    """

    setting: Setting
    models: FiniteClass
    true: int

    @property
    def truth(self) -> Table:
        """The true payoffs."""
        return self.models.tables[self.true]

    def answered(self, pairs: Pairs, stream: nlhf.Stream) -> PreferenceData:
        """Return pairs with answers drawn from the truth, equal ones counted together."""
        chance = 0.5 + pairs.payoffs(self.truth)
        labels = (stream.generator().random(len(pairs)) < chance).astype(np.float64)
        return PreferenceData.of_labels(pairs, labels).condensed()


def skew(above: Float[np.ndarray, "*model stage outcome outcome"]) -> np.ndarray:
    """Return the skew arrays with the same entries above the diagonal."""
    upper = np.triu(above, 1)
    return np.asarray(upper - upper.swapaxes(-1, -2))


def _placed(
    truth: Table, others: Float[np.ndarray, "model stage outcome outcome"], rng: np.random.Generator
) -> tuple[FiniteClass, int]:
    """Return the class of the truth and the others, the truth at a random place."""
    place = int(rng.integers(len(others) + 1))
    return FiniteClass(np.insert(others, place, truth, axis=0)), place


def _scales(setting: Setting, size: int, stream: nlhf.Stream) -> Problem:
    rng = stream.child("class").generator()
    shape = (*setting.shape, setting.shape[1])
    truth = skew(rng.uniform(-0.4, 0.4, shape))
    directions = skew(rng.normal(size=(size - 1, *shape)))
    off = shape[0] * shape[1] * (shape[1] - 1)
    length = np.sqrt((directions**2).sum(axis=(1, 2, 3), keepdims=True) / off)
    scale = np.exp(rng.uniform(np.log(0.001), np.log(0.3), (size - 1, 1, 1, 1)))
    others = np.clip(truth + scale * directions / length, -0.45, 0.45)
    return Problem(setting, *_placed(truth, others, rng))


def _bandit(stream: nlhf.Stream) -> Problem:
    return _scales(BanditSetting(np.full((4, 6), 1.0 / 6.0), 0.1), 1000, stream)


def _process(stream: nlhf.Stream) -> Problem:
    rng = stream.child("process").generator()
    mdp = nlhf.MDP(rng.dirichlet(np.ones(3), size=(3, 2)), initial=rng.dirichlet(np.ones(3)))
    return _scales(MarkovSetting(nlhf.FiniteHorizon(mdp, 3), 0.1), 100, stream)


def _rivals(stream: nlhf.Stream) -> Problem:
    rng = stream.child("class").generator()
    shape = (1000, 1, 9, 9)
    sign = np.where(rng.random(shape) < 0.5, 1.0, -1.0)
    tables = sign * rng.uniform(0.2, 0.45, shape)
    tables[..., 0, :] = rng.uniform(-0.05, 0.05, shape[:-1])
    tables = skew(tables)
    return Problem(
        BanditSetting(np.full((1, 9), 1.0 / 9.0), 0.02),
        *_placed(tables[0], tables[1:], rng),
    )


def _traps(stream: nlhf.Stream) -> Problem:
    rng = stream.child("class").generator()
    base = skew(rng.uniform(-0.1, 0.1, (2, 8, 8)))
    margin = rng.uniform(0.3, 0.4, (2, 8, 8))
    suspects = [rng.choice(8, size=4, replace=False) for _ in range(2)]
    tables = np.empty((256, 2, 8, 8))
    for model in range(256):
        worth = np.zeros((2, 8))
        for bit in range(8):
            worth[bit // 4, suspects[bit // 4][bit % 4]] = 1.0 if model >> bit & 1 else -1.0
        better = np.sign(worth[:, :, None] - worth[:, None, :])
        tables[model] = np.where(better == 0.0, base, skew(better * margin))
    true = int(rng.integers(256))
    order = rng.permutation(256)
    return Problem(
        BanditSetting(np.full((2, 8), 1.0 / 8.0), 0.05),
        FiniteClass(tables[order]),
        int(np.flatnonzero(order == true)[0]),
    )


def _dense(stream: nlhf.Stream) -> Problem:
    rng = stream.child("class").generator()
    tables = skew(rng.uniform(-0.45, 0.45, (256, 2, 8, 8)))
    return Problem(
        BanditSetting(np.full((2, 8), 1.0 / 8.0), 0.05), *_placed(tables[0], tables[1:], rng)
    )


FAMILIES: dict[str, Callable[[nlhf.Stream], Problem]] = {
    "bandit": _bandit,
    "process": _process,
    "rivals": _rivals,
    "traps": _traps,
    "dense": _dense,
}


def problem(family: str, seed: int) -> Problem:
    """Return the problem of a family with the given seed."""
    return FAMILIES[family](nlhf.Stream(seed).child("learning", family))
