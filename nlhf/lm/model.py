"""A causal language model as a player: strategies are played, sampled, scored and trained on it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any
from weakref import ref

import numpy as np
import torch
from jaxtyping import Float, Float64
from peft import PeftModel

from nlhf.errors import InvalidProblem, Unsupported
from nlhf.lm.engine import Engine
from nlhf.lm.promised import Opponents, Promise
from nlhf.lm.responses import Prompts, Responses, uniform_weights
from nlhf.lm.sequences.decoding import decode_together
from nlhf.lm.sequences.log_probabilities import (
    sequence_log_probabilities,
    tokenwise_log_probabilities,
)
from nlhf.lm.sequences.members import Context, Member, Play
from nlhf.lm.strategies import (
    BASE,
    Checkpoint,
    GeometricMixture,
    Mixture,
    Strategy,
    TokenwiseMixture,
)
from nlhf.streams import Stream

Loss = Callable[[torch.Tensor], torch.Tensor]
"""A scalar function of the log-probabilities ``(X, R)`` of responses."""

_Rows = tuple[list[tuple[int, ...]], torch.Tensor, torch.Tensor]
"""Prompts, tokens and lengths, one per response."""


class LanguageModel:
    r"""One module in memory, and the strategies that are settings of its trainable weights.

    A response y to a prompt x has the log-probability :math:`\sum_t \log\pi(y_t|x, y_{<t})`, the
    end token included, with logits divided by `temperature`, the same in sampling and in scoring.
    Dropout is off always: a policy is a function.

    Args:
        module: A transformers causal model, or one with peft adapters, which alone are trained.
        end: The token that ends a response; `None` if all have exactly `limit` tokens.
        pad: A token for padding; it is never read.
        limit: Most tokens of a response.
        temperature: Of the policy itself, above 0.
        tokenizer: Turns responses into texts; only needed by who reads them.
        micro_batch: Sequences in one forward pass.
        engine: Where and in which precision it runs, and with which other processes.

    Attributes:
        reference: The strategy that the module came with: a frozen copy, or its adapters off.
        drawn_tokens: Tokens of all responses that were sampled so far, for who measures speed.

    Raises:
        InvalidProblem: If a number is out of range, or nothing is trainable.
    """

    def __init__(
        self,
        module: Any,
        *,
        end: int | None,
        pad: int,
        limit: int,
        temperature: float = 1.0,
        tokenizer: Any = None,
        micro_batch: int = 32,
        engine: Engine | None = None,
    ) -> None:
        if limit < 1 or micro_batch < 1 or not temperature > 0.0:
            raise InvalidProblem(
                f"limit is {limit}, micro_batch {micro_batch}, temperature {temperature}",
                "pass positive whole numbers and a positive temperature",
            )
        self.engine = Engine() if engine is None else engine
        self.module = self.engine.prepared(module)
        self.end, self.pad, self.limit = end, pad, limit
        self.temperature = temperature
        self.tokenizer = tokenizer
        self.micro_batch = micro_batch
        self.drawn_tokens = 0
        self._adapters = isinstance(module, PeftModel)
        _without_dropout(self.module)
        self._recomputing = any(
            getattr(part, "gradient_checkpointing", False) for part in self.module.modules()
        )
        # Kept: gathered shards (FSDP) would show other parameters under the same names.
        self._trainable = {n: p for n, p in self.module.named_parameters() if p.requires_grad}
        initial = self.snapshot()
        if not initial.weights:
            raise InvalidProblem("no weight of the module is trainable", "set requires_grad")
        self._initial = initial
        self._promises: list[ref[Promise]] = []
        self._idle = False
        self.reference = Checkpoint(BASE, {}) if self._adapters else initial

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(iter(self.module.parameters())).device

    def trainable(self) -> dict[str, torch.nn.Parameter]:
        """Return the trainable parameters by name."""
        return self._trainable

    @contextmanager
    def playing(self, strategy: Checkpoint) -> Iterator[Any]:
        """Give the module with the weights of a strategy, without copying them.

        What was being trained is put back at the end.
        """
        if strategy.key == BASE and self._adapters:
            # Not all that is trained beside adapters (biases) is switched off with them.
            initial = self.engine.playing(self.module, self.trainable(), self._initial.weights)
            with initial, self.module.disable_adapter():
                yield self.module
            return
        with self.engine.playing(self.module, self.trainable(), strategy.weights):
            yield self.module

    def begin(self, strategy: Checkpoint) -> None:
        """Put a copy of the strategy's weights into the module, to train from there.

        The base of a model with adapters is taken up by adapters that do nothing yet.

        Raises:
            InvalidProblem: If the model came with adapters that do something.
        """
        weights = self._initial.weights if strategy.key == BASE else strategy.weights
        self.engine.put(self.trainable(), weights)
        for p in self.trainable().values():
            p.grad = None
        if strategy.key == BASE and self._adapters and not self._idle:
            self._require_idle_adapters()

    def snapshot(self) -> Checkpoint:
        """Return the strategy of the weights that are now in the module."""
        return Checkpoint.of(self.engine.held(self.trainable()), self.engine.agreed)

    def present(self, name: str) -> Checkpoint:
        """Return the weights now in the module under a name of this moment, without a copy.

        It is to be used before they change, and not to be kept.
        """
        return Checkpoint(f"present {name}", self.engine.held(self.trainable()))

    def sample(self, strategy: Strategy, prompts: Prompts, count: int, stream: Stream) -> Responses:
        """Draw responses, independent of each other given the strategy.

        The draws for a prompt depend on the stream, on its row number and on nothing else.

        Args:
            strategy: Who answers.
            prompts: X prompts.
            count: R, the responses to each.
            stream: Randomness; used up.
        """
        if isinstance(strategy, Checkpoint | TokenwiseMixture):
            promise = self.promise(strategy, prompts, count, stream)
            return promise.now()
        if isinstance(strategy, Mixture):
            return self._sample_mixture(strategy, prompts, count, stream)
        if isinstance(strategy, GeometricMixture):
            return self._resample(strategy, prompts, count, stream)
        raise Unsupported(
            f"a {type(strategy).__name__} cannot be sampled on a language model",
            "play a checkpoint of it, or a mixture of checkpoints",
        )

    def promise(
        self, strategy: Strategy, prompts: Prompts, count: int, stream: Stream
    ) -> Opponents:
        """Return what `sample` returns, to be drawn with the next draw to the same prompts.

        Few rows cost as much to decode as the weights cost to read, so that drawing together
        saves a pass. The values are those of `sample`, up to rounding.

        Args:
            strategy: Who will answer; it must not change until it has.
            prompts: X prompts.
            count: R, the responses to each.
            stream: Randomness; used up.
        """
        if not isinstance(strategy, Checkpoint | TokenwiseMixture):
            return self.sample(strategy, prompts, count, stream)
        _weighted(strategy)  # what cannot be drawn is refused now, not with the promises of others
        promise = Promise(self, strategy, prompts, count, stream)
        self._promises.append(ref(promise))
        if self.engine.sharded:  # gathering weights for every token would cost more than it saves
            self.keep_promises(prompts)
        return promise

    def keep_promises(self, prompts: Prompts) -> None:
        """Draw all that is promised to these prompts and still wanted, in one pass."""
        waiting = [each for each in (r() for r in self._promises) if each is not None]
        due = [each for each in waiting if each.prompts.same_as(prompts)]
        self._promises = [ref(each) for each in waiting if each not in due]
        parts = [_weighted(each.strategy) for each in due]
        members = {member.key: member for part in parts for member, _ in part}
        exponents = [{member.key: weight for member, weight in part} for part in parts]
        plays = [
            Play(
                tuple(given.get(key, 0.0) for key in members),
                self._uniforms(prompts, each.count, each.stream),
            )
            for each, given in zip(due, exponents, strict=True)
        ]
        with torch.no_grad(), self.engine.autocast(), self._contexts(members) as contexts:
            found = decode_together(
                contexts,
                prompts.tokens,
                plays,
                temperature=self.temperature,
                end=self.end,
                pad=self.pad,
                limit=self.limit,
            )
        for each, drawn in zip(due, found, strict=True):
            each.kept = self._drawn(prompts, each.count, each.strategy.key, *drawn)

    def log_probabilities(
        self, strategy: Strategy, responses: Responses
    ) -> Float64[torch.Tensor, "prompt response"]:
        """Return the log-probabilities of whole responses, in nats; computed once.

        Raises:
            Unsupported: For a geometric mixture, whose normaliser nobody knows.
        """
        if isinstance(strategy, GeometricMixture):
            raise Unsupported(
                "the probabilities of a geometric mixture of language models are known up to a "
                "factor per prompt",
                "use relative_log_probabilities where only differences within a prompt matter",
            )
        known = responses.known.get(strategy.key)
        if known is None:
            known = self._scored(strategy, responses)
            responses.known[strategy.key] = known
        return known

    def relative_log_probabilities(
        self, strategy: Strategy, responses: Responses
    ) -> Float64[torch.Tensor, "prompt response"]:
        """Return log-probabilities up to a constant per prompt, in nats."""
        if isinstance(strategy, GeometricMixture):
            parts = [
                w * self.relative_log_probabilities(s, responses) for s, w in strategy.weighted
            ]
            return torch.stack(parts).sum(dim=0)
        return self.log_probabilities(strategy, responses)

    def accumulate(self, responses: Responses, loss: Loss) -> float:
        r"""Add the gradient of a loss at the weights being trained, and return the loss.

        With c the derivative of the loss by the log-probabilities, the gradient is
        :math:`\sum_y c(y) \nabla\log\pi_\theta(y)`. Where the responses do not fit one pass, c is
        found first without a graph and the sum is then taken in micro-batches, so that the
        gradient is the same for every size of them.

        Args:
            responses: What is scored.
            loss: A scalar function of the log-probabilities ``(X, R)``.
        """
        rows = responses.shape[0] * responses.shape[1]
        if self.engine.most(rows) <= self.micro_batch:
            value = loss(self._forward(responses).double())
            value.backward()
            return float(value.detach())
        with torch.no_grad():
            free = self._forward(responses).double()
        leaf = free.requires_grad_()
        value = loss(leaf)
        (slopes,) = torch.autograd.grad(value, leaf)
        self._backward(responses, slopes.flatten())
        return float(value.detach())

    def present_log_probabilities(
        self, responses: Responses
    ) -> Float64[torch.Tensor, "prompt response"]:
        """Return log-probabilities under the weights now in the module, without a graph."""
        with torch.no_grad():
            return self._forward(responses).double()

    def texts(self, responses: Responses) -> list[list[str]]:
        """Return what the responses say, the end token left out.

        Raises:
            Unsupported: If the model has no tokenizer.
        """
        if self.tokenizer is None:
            raise Unsupported("this model has no tokenizer", "pass one to LanguageModel")
        rows = []
        for tokens, lengths in zip(responses.tokens, responses.lengths, strict=True):
            row = []
            for each, length in zip(tokens.tolist(), lengths.tolist(), strict=True):
                said = each[:length]
                if said[-1] == self.end:
                    said = said[:-1]
                row.append(str(self.tokenizer.decode(said)))
            rows.append(row)
        return rows

    def _require_idle_adapters(self) -> None:
        one = torch.ones((1, 1), dtype=torch.long, device=self.device)
        probe = Responses(Prompts.of([[0]]), 0 * one[:, :, None], one, uniform_weights(1, 1))
        with torch.no_grad(), self.playing(self.reference):
            base = self._forward(probe)
        apart = float((self.present_log_probabilities(probe) - base).abs())
        if not apart <= 1e-5:
            raise InvalidProblem(
                "training is to start at the base, and the adapters that the model came with "
                f"change it: the log-probability of one token by {apart:.3g}",
                "start at model.snapshot() (start=, or the profile to go on from), or merge the "
                "adapters into the base and make new ones",
            )
        self._idle = True

    def _uniforms(self, prompts: Prompts, count: int, stream: Stream) -> torch.Tensor:
        shape = (count, self.limit)
        drawn = [stream.child("row", row).generator().random(shape) for row in prompts.rows]
        return torch.as_tensor(np.concatenate(drawn), device=self.device)

    def _drawn(
        self,
        prompts: Prompts,
        count: int,
        key: str,
        tokens: torch.Tensor,
        lengths: torch.Tensor,
        logs: torch.Tensor,
    ) -> Responses:
        shape = (len(prompts), count)
        self.drawn_tokens += int(lengths.sum())
        return Responses(
            prompts,
            tokens.reshape(*shape, -1),
            lengths.reshape(shape),
            uniform_weights(*shape).to(tokens.device),
            {key: logs.double().reshape(shape)},
        )

    @contextmanager
    def _contexts(self, members: dict[str, Checkpoint]) -> Iterator[list[Context]]:
        """Give what plays each member; a single one is at play throughout."""
        if len(members) == 1:
            with self.playing(*members.values()) as module:
                yield [lambda: nullcontext(module)]
            return
        self._require_whole_weights()
        yield [partial(self.playing, member) for member in members.values()]

    def _members(self, mixture: TokenwiseMixture) -> list[Member]:
        """Return what plays every member, with its exponent."""
        self._require_whole_weights()
        return [(partial(self.playing, member), weight) for member, weight in _weighted(mixture)]

    def _require_whole_weights(self) -> None:
        if self.engine.sharded:
            raise Unsupported(
                "a token-wise mixture of a sharded model, gathered anew for every token",
                "use the geometric mixture of whole responses, or processes with whole models",
            )

    def _sample_mixture(
        self, mixture: Mixture, prompts: Prompts, count: int, stream: Stream
    ) -> Responses:
        rising = np.cumsum([weight for _, weight in mixture.weighted])
        numbers = [stream.child("members", row).generator().random(count) for row in prompts.rows]
        chosen = np.searchsorted(rising, np.stack(numbers) * rising[-1], side="right")
        chosen = np.minimum(chosen, len(rising) - 1)
        shape = (len(prompts), count)
        tokens = torch.full((*shape, self.limit), self.pad, device=self.device)
        lengths = torch.zeros(shape, dtype=torch.long, device=self.device)
        for i, (strategy, _) in enumerate(mixture.weighted):
            here, wanted = stream.child("member", i), chosen == i
            asked = np.flatnonzero(wanted.any(axis=1))
            if len(asked) == 0:
                if self.engine.sharded:  # processes gather the weights together, wanted or not
                    self.sample(strategy, prompts.take([0]), 1, here)
                continue
            most = int(wanted.sum(axis=1).max())
            drawn = self.sample(strategy, prompts.take(asked.tolist()), most, here)
            at = wanted.nonzero()
            of = np.searchsorted(asked, at[0]), (wanted.cumsum(axis=1) - 1)[at]
            tokens[at], lengths[at] = drawn.tokens[of], drawn.lengths[of]
        return Responses(prompts, tokens, lengths, uniform_weights(*shape).to(tokens.device))

    def _resample(
        self, mixture: GeometricMixture, prompts: Prompts, count: int, stream: Stream
    ) -> Responses:
        first = mixture.weighted[0][0]
        pool = self.sample(first, prompts, count * mixture.candidates, stream.child("pool"))
        excess = self.relative_log_probabilities(mixture, pool)
        excess = excess - self.relative_log_probabilities(first, pool)
        blocks = excess.reshape(len(prompts), count, mixture.candidates)
        rising = torch.softmax(blocks, dim=-1).cumsum(dim=-1)
        drawn = [stream.child("kept", row).generator().random((count, 1)) for row in prompts.rows]
        uniforms = torch.as_tensor(np.stack(drawn), device=rising.device)
        within = (rising < uniforms * rising[..., -1:]).sum(dim=-1)
        at = within + torch.arange(count, device=within.device) * mixture.candidates
        rows = torch.arange(len(prompts), device=at.device)[:, None]
        known = {key: value[rows, at] for key, value in pool.known.items()}
        weights = uniform_weights(len(prompts), count).to(at.device)
        return Responses(prompts, pool.tokens[rows, at], pool.lengths[rows, at], weights, known)

    def _scored(self, strategy: Strategy, responses: Responses) -> torch.Tensor:
        if isinstance(strategy, Mixture):
            parts = [
                self.log_probabilities(member, responses) + float(np.log(weight))
                for member, weight in strategy.weighted
                if weight > 0.0
            ]
            return torch.logsumexp(torch.stack(parts), dim=0)
        if isinstance(strategy, Checkpoint):
            with torch.no_grad(), self.playing(strategy):
                return self._forward(responses).double()
        if isinstance(strategy, TokenwiseMixture):
            members = self._members(strategy)
            with self.engine.autocast():
                parts = [
                    tokenwise_log_probabilities(
                        members, *rows, temperature=self.temperature, pad=self.pad
                    )
                    for rows in self._batches(responses)
                ]
            return torch.cat(parts).double().reshape(responses.shape)
        raise Unsupported(
            f"a {type(strategy).__name__} cannot be scored on a language model",
            "score a checkpoint of it, or a mixture of checkpoints",
        )

    def _forward(self, responses: Responses) -> Float[torch.Tensor, "prompt response"]:
        """Return log-probabilities under the weights in the module, with a graph if enabled."""
        with self.engine.reading(self.module), self.engine.autocast():
            parts = [self._score(rows) for rows in self._batches(responses)]
        return torch.cat(parts).reshape(responses.shape)

    def _backward(self, responses: Responses, slopes: torch.Tensor) -> None:
        batches = list(zip(self._batches(responses), slopes.split(self.micro_batch), strict=True))
        # Processes that sum in every backward pass (FSDP) must make equally many: add idle ones.
        idle = (batches[0][0], torch.zeros_like(batches[0][1]))
        missing = self.engine.most(len(batches)) - len(batches)
        for rows, own in [*batches, *[idle] * missing]:
            with self.engine.reading(self.module), self.engine.autocast():
                logs = self._score(rows)
            (logs.double() * own).sum().backward()

    def _score(self, rows: _Rows) -> Float[torch.Tensor, "row"]:
        """Return log-probabilities of one micro-batch under the weights now in the module."""
        # Transformers computes activations again in training mode only; there is no dropout in it.
        self.module.train(self._recomputing and torch.is_grad_enabled())
        try:
            return sequence_log_probabilities(
                self.module, *rows, temperature=self.temperature, pad=self.pad
            )
        finally:
            self.module.eval()

    def _batches(self, responses: Responses) -> list[_Rows]:
        """Return prompts, tokens and lengths of the responses in micro-batches."""
        prompts, tokens, lengths = responses.listed()
        starts = range(0, len(prompts), self.micro_batch)
        ends = [min(start + self.micro_batch, len(prompts)) for start in starts]
        return [
            (prompts[a:b], tokens[a:b], lengths[a:b]) for a, b in zip(starts, ends, strict=True)
        ]


def _weighted(strategy: Strategy) -> list[tuple[Checkpoint, float]]:
    """Return the checkpoints that are mixed token by token, each once, with their exponents."""
    weighted = strategy.weighted if isinstance(strategy, TokenwiseMixture) else ((strategy, 1.0),)
    found: dict[str, tuple[Checkpoint, float]] = {}
    for member, weight in weighted:
        if not isinstance(member, Checkpoint):
            raise Unsupported(
                f"a token-wise mixture of a {type(member).__name__}", "mix checkpoints"
            )
        before = found.get(member.key, (member, 0.0))[1]
        found[member.key] = (member, before + weight)
    return list(found.values())


def _without_dropout(module: Any) -> None:
    module.eval()
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
        for name in ("dropout", "attention_dropout", "activation_dropout", "layerdrop"):
            if isinstance(getattr(part, name, None), float):
                setattr(part, name, 0.0)
