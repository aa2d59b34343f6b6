"""Prompts and the responses to them, as tokens."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float64, Int

from nlhf.errors import InvalidData


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """A batch of prompts.

    Attributes:
        tokens: The tokens of each; at least one, from which the first next token is predicted.
        texts: What they say, for judges that read; empty strings where there is no text.
        rows: Numbers of the rows in the user's data: errors name them, and the randomness of a
            prompt is keyed by its row, so that it does not depend on the batch.

    Raises:
        InvalidData: If there is no prompt, one is empty, or the lengths disagree.
    """

    tokens: tuple[tuple[int, ...], ...]
    texts: tuple[str, ...]
    rows: tuple[int, ...]

    def __post_init__(self) -> None:
        if not len(self.tokens) == len(self.texts) == len(self.rows) > 0:
            raise InvalidData(
                f"there are {len(self.tokens)} prompts, {len(self.texts)} texts and "
                f"{len(self.rows)} row numbers",
                "pass one of each per prompt, for at least one prompt",
            )
        for row, tokens in zip(self.rows, self.tokens, strict=True):
            if not tokens:
                raise InvalidData(
                    f"the prompt of row {row} has no tokens",
                    "start it with a token (of the beginning, or of the end of a text)",
                )

    @classmethod
    def of(cls, tokens: Sequence[Sequence[int]], texts: Sequence[str] | None = None) -> "Prompts":
        """Return prompts numbered from 0."""
        shown = ("",) * len(tokens) if texts is None else tuple(texts)
        return cls(tuple(tuple(each) for each in tokens), shown, tuple(range(len(tokens))))

    def __len__(self) -> int:
        return len(self.tokens)

    def same_as(self, other: "Prompts") -> bool:
        """Return whether these are the same prompts under the same row numbers."""
        return self is other or (self.rows == other.rows and self.tokens == other.tokens)

    def take(self, indices: Sequence[int]) -> "Prompts":
        """Return the prompts at the given places."""
        return Prompts(
            tuple(self.tokens[i] for i in indices),
            tuple(self.texts[i] for i in indices),
            tuple(self.rows[i] for i in indices),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Responses:
    """R responses to each of X prompts, with weights.

    Attributes:
        prompts: The prompts.
        tokens: Shape ``(X, R, T)``; what follows after `lengths` means nothing.
        lengths: How many tokens count, the end token among them. A response cut at the limit has
            no end token: it stands for all that begin so.
        weights: Shape ``(X, R)``, rows sum to 1: 1/R for a sample, the probabilities where all
            responses are listed.
        known: Log-probabilities that were computed before, by the key of the strategy.
        exhaustive: Whether these are all responses of a strategy with their probabilities, so
            that weighted means are its expectations. Weights alone cannot tell: a strategy may be
            uniform, and the weights of a sample that was joined differ by rounding.

    Raises:
        InvalidData: If shapes disagree or a response is empty.
    """

    prompts: Prompts
    tokens: Int[torch.Tensor, "prompt response token"]
    lengths: Int[torch.Tensor, "prompt response"]
    weights: Float64[torch.Tensor, "prompt response"]
    known: dict[str, torch.Tensor] = field(default_factory=dict)
    exhaustive: bool = False

    def __post_init__(self) -> None:
        shape = tuple(self.tokens.shape[:2])
        same = shape == tuple(self.lengths.shape) == tuple(self.weights.shape)
        if not same or shape[0] != len(self.prompts):
            raise InvalidData(
                f"{len(self.prompts)} prompts have tokens of shape {tuple(self.tokens.shape)}, "
                f"lengths of shape {tuple(self.lengths.shape)} and weights of shape "
                f"{tuple(self.weights.shape)}",
                "pass (X, R, T), (X, R) and (X, R)",
            )
        bad = (self.lengths < 1) | (self.lengths > self.tokens.shape[2])
        if bool(bad.any()):
            x, r = (int(i) for i in bad.nonzero()[0])
            raise InvalidData(
                f"response {r} to the prompt of row {self.prompts.rows[x]} has length "
                f"{int(self.lengths[x, r])}, of at most {self.tokens.shape[2]}",
                "give every response at least one token; the end token counts",
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of prompts and of responses to each."""
        return len(self.prompts), int(self.tokens.shape[1])

    @property
    def mean_length(self) -> float:
        """Tokens of a response, on average over prompts and with the weights."""
        return float((self.weights * self.lengths).sum(dim=1).mean())

    def now(self) -> "Responses":
        """Return these: they are not only promised."""
        return self

    def take(self, indices: Sequence[int]) -> "Responses":
        """Return the responses to the prompts at the given places."""
        at = torch.as_tensor(list(indices), device=self.tokens.device)
        known = {key: value[at] for key, value in self.known.items()}
        return Responses(
            self.prompts.take(indices),
            self.tokens[at],
            self.lengths[at],
            self.weights[at],
            known,
            self.exhaustive,
        )

    def among(self, start: int, stop: int) -> "Responses":
        """Return the responses from `start` to before `stop`, weighted among themselves."""
        weights = self.weights[:, start:stop]
        return Responses(
            self.prompts,
            self.tokens[:, start:stop],
            self.lengths[:, start:stop],
            weights / weights.sum(dim=1, keepdim=True),
            {key: value[:, start:stop] for key, value in self.known.items()},
        )

    def listed(self) -> tuple[list[tuple[int, ...]], torch.Tensor, torch.Tensor]:
        """Return prompts, tokens and lengths with one row per response, prompt by prompt."""
        count = self.shape[1]
        prompts = [tokens for tokens in self.prompts.tokens for _ in range(count)]
        return prompts, self.tokens.flatten(0, 1), self.lengths.flatten()


def joined(parts: Sequence[Responses]) -> Responses:
    """Return the responses of several batches to the same prompts, weighted by their numbers."""
    first, longest = parts[0], max(part.tokens.shape[2] for part in parts)
    counts = [part.shape[1] for part in parts]
    total = sum(counts)
    shared = set.intersection(*(set(part.known) for part in parts))
    return Responses(
        first.prompts,
        torch.cat(
            [torch.nn.functional.pad(p.tokens, (0, longest - p.tokens.shape[2])) for p in parts],
            dim=1,
        ),
        torch.cat([part.lengths for part in parts], dim=1),
        torch.cat([p.weights * (n / total) for p, n in zip(parts, counts, strict=True)], dim=1),
        {key: torch.cat([part.known[key] for part in parts], dim=1) for key in shared},
        all(part.exhaustive for part in parts),
    )


def uniform_weights(prompts: int, responses: int) -> Float64[torch.Tensor, "prompt response"]:
    """Return the weights of a sample: 1/R each."""
    return torch.full((prompts, responses), 1.0 / responses, dtype=torch.float64)
