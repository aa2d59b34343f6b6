"""Where a mixture of raters starts: groups found on features that stay fixed."""

import numpy as np
from jaxtyping import Float

from nlhf.data.votes import Votes
from nlhf.estimation.bradley_terry import Ties
from nlhf.estimation.mixtures.fitting import RIDGE, Settings, fit
from nlhf.estimation.mixtures.steps import Assignment
from nlhf.lm.judges.encoding import response_rows, whole_rows
from nlhf.lm.judges.pairs import PreferencePairs
from nlhf.lm.judges.reward_heads import MixtureReward
from nlhf.lm.responses import Responses
from nlhf.streams import Stream

DIRECTIONS = 32
"""Principal directions of the differences of hidden states that are kept as features."""

_RESTARTS, _ITERATIONS = 4, 200


def clustered_raters(
    model: MixtureReward, pairs: PreferencePairs, stream: Stream
) -> Float[np.ndarray, "annotator group"]:
    r"""Return responsibilities from a mixture with linear rewards on the present hidden states.

    The hidden states at the last token are computed once and reduced to the `DIRECTIONS` leading
    principal directions of their differences within pairs, each with mean square 1; raters are
    then grouped by `nlhf.estimation.mixtures.fitting.fit` on these features. Heads that start at
    random would leave every rater where chance put him, and heads that start equal stay equal.
    Every pair counts once, whatever its weight; a pair of equal responses not at all.

    Raises:
        HypothesisViolated: No pair compares different responses, or there are more groups than
            raters.
        InvalidData: A row is longer than the context.
    """
    votes, order = _votes(pairs)
    vectors = [_vectors(model, side) for side in (pairs.chosen, pairs.rejected)]
    contrast = vectors[0] - vectors[1]
    _, scales, directions = np.linalg.svd(contrast, full_matrices=False)
    kept = min(DIRECTIONS, int((scales > 1e-9 * max(float(scales[0]), 1e-300)).sum()))
    if model.groups == 1 or kept == 0:
        count = int(pairs.annotators.max()) + 1
        return np.full((count, model.groups), 1.0 / model.groups)
    unit = directions[:kept].T * (len(contrast) ** 0.5 / scales[:kept])
    features = np.concatenate(vectors)[order] @ unit
    settings = Settings.of(
        Assignment.SOFT, features, None, RIDGE, Ties.HALF, _RESTARTS, _ITERATIONS
    )
    return fit(votes, model.groups, settings, stream, None).responsibilities


def _votes(pairs: PreferencePairs) -> tuple[Votes, list[int]]:
    """Return the pairs as votes, and for every item where a vector of it is."""
    prompts: dict[tuple[int, ...], int] = {}
    items: list[dict[tuple[int, ...], int]] = []
    place: list[list[int]] = []
    count = len(pairs)
    ends = np.empty((2, count), dtype=np.int64)
    asked = np.empty(count, dtype=np.int64)
    both = (response_rows(pairs.chosen), response_rows(pairs.rejected))
    for i, prompt in enumerate(pairs.chosen.prompts.tokens):
        x = prompts.setdefault(prompt, len(prompts))
        if x == len(items):
            items.append({})
            place.append([])
        for side in (0, 1):
            row = both[side][i][0]
            y = items[x].setdefault(row, len(items[x]))
            if y == len(place[x]):
                place[x].append(side * count + i)
            asked[i], ends[side, i] = x, y
    differ = ends[0] != ends[1]
    votes = Votes(
        tuple(str(x) for x in range(len(items))),
        tuple(tuple(str(y) for y in range(len(of))) for of in items),
        tuple(f"rater {h}" for h in range(int(pairs.annotators.max()) + 1)),
        asked[differ],
        ends[0][differ],
        ends[1][differ],
        np.asarray(pairs.annotators)[differ].astype(np.int64),
        np.ones(int(differ.sum()), dtype=np.int8),
    )
    return votes, [at for some in place for at in some]


def _vectors(model: MixtureReward, responses: Responses) -> Float[np.ndarray, "row hidden"]:
    rows = whole_rows(responses, model.encoder.context)
    return np.asarray(model.encoder.encoded(rows).double().cpu().numpy())
