"""Win rates of both groups by their judges, divergence, lengths and samples of a policy."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.language.movie_reviews.raters import Qualities, qualities, whole_text
from benchmarks.language.movie_reviews.sentiment import Sentiment
from benchmarks.tables import write_whole
from nlhf.lm.model import LanguageModel
from nlhf.lm.responses import Responses
from nlhf.lm.strategies import Checkpoint

SHOWN = 12
"""Prompts of which a response is kept to be read."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was measured of one method on one seed; lists have an entry per evaluation prompt.

    Attributes:
        seed: Of the experiment.
        method: Its name.
        majority: Win rate against the reference by the majority's judge.
        minority: Likewise by the minority's.
        divergence: Mean of log π - log μ over the policy's responses, in nats.
        tokens: Mean tokens of a response, the end token included.
        words: Mean words of a response.
        steps: Outer steps of training.
        path: KL to the reference after each, as measured in training.
        weights: Of the groups at the end; empty for methods without groups.
        seconds: CPU time of training.
        samples: Prompt with response.
    """

    seed: int
    method: str
    majority: list[float]
    minority: list[float]
    divergence: list[float]
    tokens: list[float]
    words: list[float]
    steps: int
    path: list[float]
    weights: list[float]
    seconds: float
    samples: list[str]

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(asdict(self)))

    @classmethod
    def load(cls, path: Path) -> "Outcome":
        """Read what `save` wrote."""
        return cls(**json.loads(path.read_text("utf-8")))


@dataclass(frozen=True, slots=True, eq=False)
class Opponent:
    """The reference's responses to the evaluation prompts, and what the judges see of them.

    Attributes:
        drawn: The responses.
        seen: Sentiment by the judge, and words.
    """

    drawn: Responses
    seen: Qualities


def win_rates(own: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the share of pairs with the larger value on our side, ties one half, per prompt."""
    above = own[:, :, None] > other[:, None, :]
    level = own[:, :, None] == other[:, None, :]
    return np.asarray((above + 0.5 * level).mean(axis=(1, 2)))


def measured(
    model: LanguageModel, policy: Checkpoint, own: Responses, opponent: Opponent, judge: Sentiment
) -> dict[str, list[float]]:
    """Return the lists of an `Outcome`, by name.

    Args:
        model: The language model.
        policy: Whose responses they are.
        own: Its responses to the evaluation prompts.
        opponent: The reference's.
        judge: The majority's.
    """
    seen = qualities(own, model.texts, judge)
    logs = [model.log_probabilities(each, own) for each in (policy, model.reference)]
    return {
        "majority": win_rates(seen.sentiment, opponent.seen.sentiment).tolist(),
        "minority": win_rates(-seen.words, -opponent.seen.words).tolist(),
        "divergence": (logs[0] - logs[1]).mean(dim=1).tolist(),
        "tokens": own.lengths.double().mean(dim=1).tolist(),
        "words": seen.words.mean(axis=1).tolist(),
    }


def samples(model: LanguageModel, own: Responses) -> list[str]:
    """Return one response to each of the first prompts, with its prompt."""
    said = model.texts(own.take(range(min(SHOWN, len(own.prompts)))))
    return [
        f"{prompt} |{whole_text('', row[0])}"
        for prompt, row in zip(own.prompts.texts, said, strict=False)
    ]
