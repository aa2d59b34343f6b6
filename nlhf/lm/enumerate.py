"""Language models whose every response can be listed: the bridge to exact games.

A real transformer with a tiny vocabulary and responses of one fixed length is a token tree. Its
strategies are policies on the tree, its preference games `TrajectoryGame`s, and the certificates
of those hold for the language model.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from numpy.typing import ArrayLike

from nlhf.errors import InvalidProblem
from nlhf.games.preference import checked_preference
from nlhf.games.trajectory import TrajectoryGame
from nlhf.lm.draws import Enumerated, every_response
from nlhf.lm.games import LanguageGame
from nlhf.lm.model import LanguageModel
from nlhf.lm.responses import Prompts, Responses
from nlhf.lm.strategies import Strategy
from nlhf.spaces.duals import LeafPayoff
from nlhf.spaces.policy import Policy
from nlhf.spaces.tree import TokenTree


class Enumeration:
    """All responses of a language model to a few prompts.

    Args:
        model: A model whose responses all have `limit` tokens (`end` is `None`).
        prompts: X prompts.
        vocabulary: V, the tokens 0 to V−1 that the model's head predicts.

    Attributes:
        tree: The tree of the V^limit responses to every prompt.
        draws: All responses, for games and realisers to look at.
        responses: All responses in the order of the tree's leaves.

    Raises:
        InvalidProblem: If responses may end early, the head predicts another number of tokens, or
            there are too many responses.
    """

    def __init__(self, model: LanguageModel, prompts: Prompts, vocabulary: int) -> None:
        if model.end is not None:
            raise InvalidProblem(
                f"responses may end early, with token {model.end}",
                "make the LanguageModel with end=None: all responses then have one length",
            )
        predicted = int(model.module.config.vocab_size)
        if predicted != vocabulary:
            raise InvalidProblem(
                f"the model predicts {predicted} tokens, not {vocabulary}",
                "give the model a vocabulary of just the tokens of responses and prompts",
            )
        self.tree = TokenTree(vocabulary, model.limit, contexts=len(prompts))
        self.model, self.prompts = model, prompts
        self.draws = Enumerated(vocabulary)
        self.responses: Responses = every_response(prompts, vocabulary, model.limit, model.device)

    def log_probabilities(self, strategy: Strategy) -> Float[np.ndarray, "context leaf"]:
        """Return the log-probability of every response, in float64 and summing to 1.

        The sums of a float32 model miss 1 by about 1e-7; they are normalised here.
        """
        logs = self.model.relative_log_probabilities(strategy, self.responses)
        return torch.log_softmax(logs, dim=1).cpu().numpy()

    def policy(self, strategy: Strategy) -> Policy:
        """Return the strategy as a policy on the tree."""
        return Policy(self.tree.log_policy(self.log_probabilities(strategy)))

    def exact_game(self, game: LanguageGame) -> TrajectoryGame:
        """Return the same game on the tree, where solutions and certificates are exact.

        Raises:
            InvalidProblem: If the game is about other prompts, or its preference is none.
        """
        if game.prompts.rows != self.prompts.rows:
            raise InvalidProblem(
                f"the game has {len(game.prompts)} prompts, this enumeration {len(self.prompts)}",
                "enumerate the prompts of the game",
            )
        matrix = game.preference.preferences(self.responses, self.responses)
        return TrajectoryGame(self.tree, matrix, self.policy(game.reference), game.temperature)

    def payoff(self, values: Any) -> LeafPayoff:
        """Return the payoff of every leaf that a payoff of responses has."""
        return LeafPayoff(values.values(self.responses).cpu().numpy())


class TablePreference:
    r"""A preference between the responses of an enumerable model, looked up in a table.

    Args:
        preference: P, shape ``(X, n, n)`` with n = V^H, leaves in lexicographic order; rows of
            the table are the prompts' row numbers.
        vocabulary: V.

    Raises:
        InvalidProblem: As `PreferenceGame`.
    """

    def __init__(self, preference: ArrayLike, vocabulary: int) -> None:
        self.table = checked_preference(preference)
        self.vocabulary = vocabulary

    def preferences(
        self, first: Responses, second: Responses
    ) -> Float64[np.ndarray, "prompt first second"]:
        """Return the entries of the table."""
        rows = np.array(first.prompts.rows)[:, None, None]
        own, other = leaves(first, self.vocabulary), leaves(second, self.vocabulary)
        found: np.ndarray = self.table[rows, own[:, :, None], other[:, None, :]]
        return found


class TableReward:
    """A reward of the responses of an enumerable model, looked up in a table.

    Args:
        reward: Shape ``(X, n)``, as `TablePreference`.
        vocabulary: V.
    """

    def __init__(self, reward: Float[np.ndarray, "context leaf"], vocabulary: int) -> None:
        self.table = np.asarray(reward, dtype=np.float64)
        self.vocabulary = vocabulary

    def rewards(self, responses: Responses) -> Float64[np.ndarray, "prompt response"]:
        """Return the entries of the table."""
        rows = np.array(responses.prompts.rows)[:, None]
        found: np.ndarray = self.table[rows, leaves(responses, self.vocabulary)]
        return found


def leaves(responses: Responses, vocabulary: int) -> np.ndarray:
    """Return the number of the leaf of every response: its tokens read as digits."""
    tokens = responses.tokens.cpu().numpy()
    digits = vocabulary ** np.arange(tokens.shape[2] - 1, -1, -1)
    return np.asarray(tokens @ digits)
