"""Published sequence classifiers as reward functions in TRL's form."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch

from nlhf.data.text import listed
from nlhf.errors import InvalidData, InvalidProblem
from nlhf.lm.loading.chat import Message, render_prompt, render_response
from nlhf.lm.loading.pretrained import context_length, load_classifier
from nlhf.lm.loading.tokenizers import open_tokenizer


class ClassifierReward:
    r"""The logit of a classifier, or its log-odds of one label, as a reward.

    With one output z the reward is z, as reward models are trained; with several, the reward of
    label k is :math:`z_k - \log\sum_{j \ne k} e^{z_j}`. The classifier reads prompt and response
    with its own tokenizer. Texts are run in batches of equal numbers of tokens, so that nothing is
    ever padded. The model is loaded at the first call.

    Args:
        name_or_path: A folder, or an id on the hub.
        label: Name of the label, for a classifier with several.
        chat: Put prompt and response through the classifier's chat template.
        chat_template: ``tulu`` or a Jinja template, if not the tokenizer's own.
        dtype: Of the weights.
        device: Where it runs; by default the first accelerator if there is one.
        batch: Texts in one forward pass.
    """

    def __init__(
        self,
        name_or_path: str,
        *,
        label: str | None = None,
        chat: bool = False,
        chat_template: str | None = None,
        dtype: torch.dtype = torch.float32,
        device: str | None = None,
        batch: int = 16,
    ) -> None:
        self.name_or_path = name_or_path
        self.label = label
        self.chat = chat
        self.chat_template = chat_template
        self.dtype = dtype
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.batch = batch

    @cached_property
    def tokenizer(self) -> Any:
        """The classifier's own tokenizer; one without an end token will do."""
        return open_tokenizer(self.name_or_path, chat_template=self.chat_template)

    @cached_property
    def model(self) -> Any:
        """The classifier.

        Raises:
            InvalidData: It cannot be loaded; see `load_classifier`.
        """
        model = load_classifier(self.name_or_path, dtype=self.dtype, device=self.device)
        # Nothing is padded, so no token may be taken for padding: not the end token either.
        model.config.pad_token_id = -1
        return model

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], **columns: object
    ) -> list[float]:
        """Return the reward of every response.

        Raises:
            InvalidData: A text is longer than the classifier takes.
            InvalidProblem: It has no label of that name, or several and none is named.
        """
        rows = [self._tokens(p, c) for p, c in zip(prompts, completions, strict=True)]
        limit = context_length(self.model.config)
        long = [i for i, row in enumerate(rows) if len(row) > limit]
        if long:
            raise InvalidData(
                f"text {long[0]} has {len(rows[long[0]])} tokens for {self.name_or_path}, which "
                f"takes {limit} ({len(long)} such of {len(rows)})",
                "lower limit, or use a classifier of longer context",
            )
        rewards = [0.0] * len(rows)
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        for places in self._batches(order, rows):
            for place, value in zip(places, self._scores([rows[i] for i in places]), strict=True):
                rewards[place] = value
        return rewards

    def _tokens(self, prompt: str, completion: str) -> list[int]:
        if self.chat:
            turns = (Message("user", prompt),)
            said = render_response(
                self.tokenizer, turns, (Message("assistant", completion),), self.name_or_path
            )
            text = render_prompt(self.tokenizer, turns, self.name_or_path) + said
            found: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            return [*found, self.tokenizer.eos_token_id]
        found = self.tokenizer(prompt + completion)["input_ids"]
        return found

    def _batches(self, order: list[int], rows: list[list[int]]) -> list[list[int]]:
        batches: list[list[int]] = []
        for i in order:
            last = batches[-1] if batches else []
            if last and len(last) < self.batch and len(rows[last[0]]) == len(rows[i]):
                last.append(i)
            else:
                batches.append([i])
        return batches

    def _scores(self, rows: list[list[int]]) -> list[float]:
        with torch.no_grad():
            tokens = torch.tensor(rows, device=self.model.device)
            logits = self.model(tokens, attention_mask=torch.ones_like(tokens)).logits.double()
        if logits.shape[1] == 1 and self.label is None:
            scores = logits[:, 0]
        else:
            at = self._place_of_label()
            others = torch.cat([logits[:, :at], logits[:, at + 1 :]], dim=1)
            scores = logits[:, at] - others.logsumexp(dim=1)
        return scores.tolist()

    def _place_of_label(self) -> int:
        labels = {str(name): int(place) for name, place in self.model.config.label2id.items()}
        if self.label not in labels or len(labels) < 2:
            raise InvalidProblem(
                f"{self.name_or_path} has no label {self.label!r} among {listed([*labels])}",
                "name one of several labels, or none for a classifier with one output",
            )
        return labels[self.label]
