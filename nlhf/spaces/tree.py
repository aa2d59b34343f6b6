"""Token trees: responses of fixed length over a vocabulary, chosen token by token."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float

from nlhf.errors import InvalidProblem, Unsupported
from nlhf.results import read_only
from nlhf.spaces.duals import LeafPayoff
from nlhf.spaces.layered import Layered

MOST_LEAVES = 10_000_000
"""Trees of more complete histories are refused: nobody could hold a preference over them."""


class TokenTree(Layered[LeafPayoff]):
    """All sequences of `horizon` tokens; a policy has one distribution per prefix.

    The prefixes of length h are the decision points of layer h, in lexicographic order, so that
    the leaf of the tokens (t_0, ..., t_{H-1}) is number Σ_h t_h V^(H-1-h). A policy has shape
    ``(N, V)``, or ``(X, N, V)`` with contexts, N = (V^H - 1)/(V - 1), shorter prefixes first.

    Args:
        vocabulary: V, the number of tokens.
        horizon: H, the length of a sequence.
        contexts: How many prompts; `None` for a single one without an axis of its own.

    Raises:
        InvalidProblem: If a number is not a positive integer, or there are over ten million
            sequences.
    """

    def __init__(self, vocabulary: int, horizon: int, contexts: int | None = None) -> None:
        for name, number in (
            ("vocabulary", vocabulary),
            ("horizon", horizon),
            ("contexts", 1 if contexts is None else contexts),
        ):
            if not isinstance(number, int | np.integer) or number < 1:
                raise InvalidProblem(f"{name} is {number!r}", "pass a positive integer")
        prompts = 1 if contexts is None else contexts
        if prompts * vocabulary**horizon > MOST_LEAVES:
            raise InvalidProblem(
                f"{prompts} trees of {vocabulary}^{horizon} sequences are "
                f"{float(prompts * vocabulary**horizon):.3g} leaves, more than {MOST_LEAVES:,}",
                "shorten the horizon or the vocabulary, or sample from a language model instead",
            )
        self.vocabulary = vocabulary
        self.horizon = horizon
        self.contexts = () if contexts is None else (contexts,)
        self.leaves = vocabulary**horizon
        sizes = [vocabulary**h for h in range(horizon)]
        ends = np.cumsum([0, *sizes])
        self._slices = [slice(int(a), int(b)) for a, b in pairwise(ends)]
        self.shape = (*self.contexts, int(ends[-1]), vocabulary)
        self.initial = read_only(np.ones((*self.contexts, 1)))

    def __repr__(self) -> str:
        prompts = f", contexts={self.contexts[0]}" if self.contexts else ""
        return f"TokenTree(vocabulary={self.vocabulary}, horizon={self.horizon}{prompts})"

    def layer(self, array: np.ndarray, h: int, trailing: int) -> np.ndarray:
        """Return the view of the prefixes of length h."""
        return array[(..., self._slices[h]) + (slice(None),) * trailing]

    def expected(
        self, h: int, values: Float[np.ndarray, "*context next"]
    ) -> Float[np.ndarray, "*context point action"]:
        """Return the values of the prefixes one token longer."""
        return values.reshape(*self.contexts, -1, self.vocabulary)

    def moved(
        self, h: int, flow: Float[np.ndarray, "*context point action"]
    ) -> Float[np.ndarray, "*context next"]:
        """Return the probabilities of the prefixes one token longer."""
        return flow.reshape(*self.contexts, -1)

    def check(self, payoff: object) -> None:
        """Raise `Unsupported` unless the payoff is one of complete sequences."""
        check_leaf_payoff(payoff)

    def final(self, payoff: LeafPayoff | None) -> Float[np.ndarray, "*context last"]:
        """Return the payoff of every sequence."""
        return np.zeros((*self.contexts, self.leaves)) if payoff is None else payoff.leaves

    def step(
        self, payoff: LeafPayoff | None, h: int
    ) -> Float[np.ndarray, "*context point action"] | None:
        """Return `None`: a sequence is paid at its end."""
        return None

    def leaf_log_probabilities(
        self, log_policy: Float[np.ndarray, "*place action"]
    ) -> Float[np.ndarray, "*context leaf"]:
        """Return the log-probability of every sequence, the sum of those of its tokens."""
        here = np.zeros((*self.contexts, 1))
        for h in range(self.horizon):
            here = self.moved(h, here[..., None] + self.layer(log_policy, h, trailing=1))
        return here

    def log_policy(
        self, leaf_log_probabilities: Float[np.ndarray, "*context leaf"]
    ) -> Float[np.ndarray, "*place action"]:
        """Return the log-policy of a distribution over sequences of full support."""
        return self.optimum(LeafPayoff(leaf_log_probabilities), np.zeros(self.shape), 1.0)


def check_leaf_payoff(payoff: object) -> None:
    """Raise `Unsupported` unless the payoff is one of complete histories."""
    if payoff is not None and not isinstance(payoff, LeafPayoff):
        raise Unsupported(
            f"a tree of histories is paid at its leaves, not by a {type(payoff).__name__}",
            "add the payoffs of the steps up along each history, or play a MarkovGame",
        )
