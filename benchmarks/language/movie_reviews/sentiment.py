"""Sentiment by n-grams: the scorer that raters vote by, and the judge, of unlike features and data.

Both are logistic regressions on n-gram presence, weighted by naive-Bayes log-count ratios (Wang
and Manning 2012). The scorer reads words and pairs of words, the judge strings of 3 to 6
characters, and they are trained on disjoint halves of the sentences.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix

from benchmarks.language.movie_reviews.sentences import Labelled

Grams = Callable[[str], set[str]]
RIDGE = 1.0
"""Half the penalty per squared weight; with naive-Bayes ratios as features 1 is usual."""


def word_grams(text: str) -> set[str]:
    """Return the words of a text and its pairs of neighbouring words."""
    words = text.split()
    return set(words) | {f"{a} {b}" for a, b in pairwise(words)}


def character_grams(text: str) -> set[str]:
    """Return the strings of 3 to 6 characters in a text."""
    padded = f" {' '.join(text.split())} "
    return {padded[i : i + n] for n in range(3, 7) for i in range(len(padded) - n + 1)}


@dataclass(frozen=True, slots=True, eq=False)
class Sentiment:
    """The log-odds that a text is positive.

    Attributes:
        grams: What is read from a text.
        weights: Of every n-gram, in logits.
        bias: Of a text without any.
    """

    grams: Grams
    weights: Mapping[str, float]
    bias: float

    def logits(self, texts: Sequence[str]) -> np.ndarray:
        """Return the log-odds of texts, shape ``(len(texts),)``."""
        known = self.weights
        return np.array(
            [self.bias + sum(known.get(g, 0.0) for g in sorted(self.grams(t))) for t in texts]
        )

    def accuracy(self, sentences: Labelled) -> float:
        """Return the share of sentences whose label has the larger odds."""
        return float(np.mean((self.logits(sentences.texts) > 0.0) == np.array(sentences.positive)))


def fit_sentiment(sentences: Labelled, grams: Grams, rarest: int) -> Sentiment:
    """Fit by penalised maximum likelihood.

    Args:
        sentences: With their labels.
        grams: What is read from a text.
        rarest: In how many sentences an n-gram occurs at least.
    """
    read = [grams(text) for text in sentences.texts]
    counts = Counter(gram for found in read for gram in found)
    names = sorted(gram for gram, count in counts.items() if count >= rarest)
    place = {gram: column for column, gram in enumerate(names)}
    columns = [[place[gram] for gram in found if gram in place] for found in read]
    ends = np.cumsum([0, *map(len, columns)])
    present = csr_matrix(
        (np.ones(ends[-1]), np.concatenate(columns).astype(np.intp), ends),
        shape=(len(read), len(names)),
    )
    labels = np.array(sentences.positive, dtype=float)
    positive, negative = 1.0 + present.T @ labels, 1.0 + present.T @ (1.0 - labels)
    ratio = np.log(positive / positive.sum()) - np.log(negative / negative.sum())
    weights, bias = _logistic(present.multiply(ratio).tocsr(), 2.0 * labels - 1.0)
    return Sentiment(grams, dict(zip(names, (ratio * weights).tolist(), strict=True)), bias)


def _logistic(features: csr_matrix, signs: np.ndarray) -> tuple[np.ndarray, float]:
    def objective(point: np.ndarray) -> tuple[float, np.ndarray]:
        weights = point[:-1]
        margins = signs * (features @ weights + point[-1])
        value = np.logaddexp(0.0, -margins).sum() + RIDGE / 2.0 * (weights @ weights)
        slopes = -signs * np.exp(-np.logaddexp(0.0, margins))
        return value, np.append(features.T @ slopes + RIDGE * weights, slopes.sum())

    start = np.zeros(features.shape[1] + 1)
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
    return found[:-1], float(found[-1])
