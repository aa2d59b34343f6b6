"""Whether two answers say the same, by a classifier of natural-language inference."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import torch

from nlhf.errors import HypothesisViolated, Unsupported
from nlhf.lm.loading.pretrained import load_classifier
from nlhf.lm.loading.tokenizers import open_tokenizer


class Merge(StrEnum):
    """When two answers count as the same; published code differs, and confidences with it.

    For long answers, strict entailment leaves almost only singletons, and non-contradiction makes
    huge clusters. RLP says "bidirectional entailment" and shows no code.
    """

    ENTAILMENT = "entailment"
    """Each entails the other."""
    NO_CONTRADICTION = "no contradiction"
    """Neither direction is a contradiction (the code of Kuhn et al., 2023)."""
    NOT_NEUTRAL = "not neutral"
    """Neither direction is a contradiction and not both are neutral (jlko's code, 2024)."""


_LABELS = ("contradiction", "neutral", "entailment")


class NliEquivalence:
    """An equivalence of answers by a classifier of pairs (premise, hypothesis), both ways round.

    Args:
        model: A sequence classifier with the labels contradiction, neutral and entailment.
        tokenizer: Its tokenizer.
        merge: When two answers are the same.
        with_prompt: Whether the prompt goes before each answer, as Kuhn et al. do.
        batch: Pairs of one pass.

    Raises:
        Unsupported: The model's labels are others.
        HypothesisViolated: The batch is not at least 1.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        merge: Merge = Merge.ENTAILMENT,
        with_prompt: bool = True,
        batch: int = 32,
    ) -> None:
        if batch < 1:
            raise HypothesisViolated(f"batch {batch}", "take at least 1 pair a pass")
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.merge = Merge(merge)
        self.with_prompt = with_prompt
        self.batch = batch
        self._names = _names(model.config.id2label)

    @classmethod
    def load(
        cls,
        path: str,
        *,
        merge: Merge = Merge.ENTAILMENT,
        with_prompt: bool = True,
        batch: int = 32,
        device: str = "cpu",
    ) -> "NliEquivalence":
        """Load classifier and tokenizer from a folder or a hub id; never code or pickles.

        Raises:
            InvalidData: There is no such model; see `load_classifier`.
            Unsupported: The model's labels are others.
        """
        model = load_classifier(path, device=device)
        tokenizer = open_tokenizer(path)
        return cls(model, tokenizer, merge=merge, with_prompt=with_prompt, batch=batch)

    def __call__(self, prompts: list[str], pairs: list[list[str]]) -> list[bool]:
        """Return whether the two answers of every pair say the same."""
        lead = [f"{prompt} " if self.with_prompt else "" for prompt in prompts]
        there = [(p + a, p + b) for p, (a, b) in zip(lead, pairs, strict=True)]
        labels = self.labels(there + [(b, a) for a, b in there])
        return [
            merged(one, other, self.merge)
            for one, other in zip(labels[: len(there)], labels[len(there) :], strict=True)
        ]

    @torch.no_grad()
    def labels(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        """Return the most probable label of every pair (premise, hypothesis).

        Texts beyond the classifier's context are cut, the longer of the two first.
        """
        limits = (
            getattr(self.model.config, "max_position_embeddings", None),
            getattr(self.tokenizer, "model_max_length", None),
        )
        most = min((int(limit) for limit in limits if limit is not None), default=None)
        found: list[str] = []
        for start in range(0, len(pairs), self.batch):
            part = pairs[start : start + self.batch]
            inputs = self.tokenizer(
                [a for a, _ in part],
                [b for _, b in part],
                padding=True,
                truncation=most is not None,
                max_length=most,
                return_tensors="pt",
            ).to(self.model.device)
            best = self.model(**inputs).logits.argmax(dim=1).tolist()
            found += [self._names[k] for k in best]
        return found


def merged(one: str, other: str, merge: Merge) -> bool:
    """Return whether the labels of both directions make two answers the same."""
    if merge is Merge.ENTAILMENT:
        return one == other == "entailment"
    contradicted = "contradiction" in (one, other)
    if merge is Merge.NO_CONTRADICTION:
        return not contradicted
    return not contradicted and not one == other == "neutral"


def _names(labels: dict[int, str]) -> dict[int, str]:
    names = {
        int(k): next((name for name in _LABELS if name[:7] in str(label).lower()), "")
        for k, label in labels.items()
    }
    if sorted(names.values()) != sorted(_LABELS):
        raise Unsupported(
            f"the classifier's labels are {', '.join(map(str, labels.values()))}",
            "use a model of natural-language inference (MNLI) whose config.id2label names "
            "contradiction, neutral and entailment, or set these names",
        )
    return names
