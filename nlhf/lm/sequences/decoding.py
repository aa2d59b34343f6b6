"""Drawing responses token by token, all rows together, from given uniform numbers."""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from jaxtyping import Float64, Int

from nlhf.errors import InvalidProblem, NotAllowed
from nlhf.lm.sequences.inverse_cdf import draw
from nlhf.lm.sequences.members import Context, Member, Play
from nlhf.lm.sequences.reading import Reader

Drawn = tuple[
    Int[torch.Tensor, "row token"], Int[torch.Tensor, "row"], Float64[torch.Tensor, "row"]
]
"""Tokens, how many of them count in each row, and the log-probability of each row."""


def decode(
    module: torch.nn.Module,
    prompts: Sequence[Sequence[int]],
    uniforms: Float64[torch.Tensor, "row token"],
    *,
    rows_per_prompt: int,
    temperature: float,
    end: int | None,
    pad: int,
    limit: int,
) -> Drawn:
    r"""Draw responses from one model.

    Row `i * rows_per_prompt + j` is the j-th response to prompt i, and a function of the model,
    the prompt and its own uniform numbers: other rows change it by rounding at most. Token t is
    :math:`\min\{i : F(i) > u_t\}`, F the distribution function of softmax(logits / temperature)
    in the order of the vocabulary.

    Args:
        module: A causal language model in the mode it plays in (dropout off).
        prompts: One per group of rows, of any lengths, never empty.
        uniforms: In [0, 1), one per row and token.
        rows_per_prompt: Responses to each prompt.
        temperature: Divides the logits.
        end: The token that ends a response, counted as part of it; none if nothing ends one.
        pad: Fills after the end.
        limit: Most tokens; a response that reaches it need not have an end token.

    Returns:
        The tokens, how many count in each row, and the log-probability of each row, float64 sums
        of terms as exact as the module's logits.

    Raises:
        InvalidProblem: An empty prompt, one too long for the context, or too few uniform numbers.
        NotAllowed: Logits that are not finite.
        Unsupported: A model without keys and values to go on from, or one that cannot be told
            the positions of prompts of different lengths.
    """
    return decode_tokenwise(
        [(lambda: nullcontext(module), 1.0)],
        prompts,
        uniforms,
        rows_per_prompt=rows_per_prompt,
        temperature=temperature,
        end=end,
        pad=pad,
        limit=limit,
    )


def decode_tokenwise(
    members: Sequence[Member],
    prompts: Sequence[Sequence[int]],
    uniforms: Float64[torch.Tensor, "row token"],
    *,
    rows_per_prompt: int,
    temperature: float,
    end: int | None,
    pad: int,
    limit: int,
) -> Drawn:
    r"""Draw responses from the token-wise geometric mixture of several models.

    .. math:: \pi(y_t | x, y_{<t}) \propto \prod_k \pi_k(y_t | x, y_{<t})^{w_k},

    renormalised at every token: not the geometric mixture of the sequences. Every member reads
    the tokens with a memory of its own.

    Args:
        members: Contexts that give each model, and the exponents w.
        prompts: As for `decode`, and so are the other arguments, the result and the errors.
        uniforms: In [0, 1), one per row and token.
        rows_per_prompt: Responses to each prompt.
        temperature: Divides the logits.
        end: The token that ends a response.
        pad: Fills after the end.
        limit: Most tokens.
    """
    if len(uniforms) != len(prompts) * rows_per_prompt:
        raise InvalidProblem(
            f"uniform numbers for {len(uniforms)} rows, for {len(prompts)} prompts with "
            f"{rows_per_prompt} rows each",
            "pass one row of uniform numbers per response",
        )
    play = Play(tuple(exponent for _, exponent in members), uniforms)
    contexts = [context for context, _ in members]
    return decode_together(
        contexts, prompts, [play], temperature=temperature, end=end, pad=pad, limit=limit
    )[0]


def decode_together(
    contexts: Sequence[Context],
    prompts: Sequence[Sequence[int]],
    plays: Sequence[Play],
    *,
    temperature: float,
    end: int | None,
    pad: int,
    limit: int,
) -> list[Drawn]:
    """Draw the responses of several plays to the same prompts in one pass.

    A model that several plays consult reads all their rows at once: decoding few rows costs what
    reading the weights costs, so a policy and its mixture with a reference come at little more
    than the price of the mixture. Every play gets what it would get alone, up to rounding.

    Args:
        contexts: What gives the models.
        prompts: As for `decode`, and so are the other arguments and the errors.
        plays: What is wanted.
        temperature: Divides the logits.
        end: The token that ends a response.
        pad: Fills after the end.
        limit: Most tokens.

    Returns:
        For each play what `decode_tokenwise` returns.
    """
    counts = [_count(play, len(prompts), len(contexts), limit) for play in plays]
    # Rows of all plays, prompt by prompt; `of_play[r]` says whose row r is.
    of_play = torch.repeat_interleave(torch.arange(len(plays)), torch.tensor(counts))
    of_play = of_play.repeat(len(prompts))
    uniforms = plays[0].uniforms.new_empty((len(of_play), limit))
    for number, play in enumerate(plays):
        uniforms[of_play == number] = play.uniforms[:, :limit]
    exponents = torch.tensor([play.exponents for play in plays], dtype=torch.float64)[of_play].T
    with torch.no_grad():
        members = [
            _Member(context, exponent, prompts, limit, pad)
            for context, exponent in zip(contexts, exponents, strict=True)
        ]
        tokens, lengths, sums = _drawn(members, uniforms, temperature, end, pad)
    _check(sums, len(of_play) // len(prompts))
    return [
        (tokens[mine], lengths[mine], sums[mine])
        for mine in (of_play.to(tokens.device) == number for number in range(len(plays)))
    ]


def _check(sums: Float64[torch.Tensor, "row"], copies: int) -> None:
    wrong = (~torch.isfinite(sums)).nonzero()[:, 0].tolist()
    if wrong:
        raise NotAllowed(
            f"{len(wrong)} of {len(sums)} responses have no log-probability, the first of them to "
            f"prompt {wrong[0] // copies}: the model's logits are not finite",
            "go back to a checkpoint whose weights are finite, or lower the learning rate",
        )


def _count(play: Play, prompts: int, models: int, limit: int) -> int:
    """Return the responses to each prompt that a play wants."""
    rows, width = play.uniforms.shape
    if rows % prompts or rows == 0 or width < limit or len(play.exponents) != models:
        raise InvalidProblem(
            f"{rows} rows of {width} uniform numbers and {len(play.exponents)} exponents, for "
            f"{prompts} prompts, {limit} tokens and {models} models",
            "pass the same number of rows for every prompt, a number per token, an exponent per "
            "model",
        )
    return rows // prompts


class _Member:
    """A model with its memory of those rows that consult it."""

    def __init__(
        self,
        context: Context,
        exponents: Float64[torch.Tensor, "row"],
        prompts: Sequence[Sequence[int]],
        limit: int,
        pad: int,
    ) -> None:
        self._context = context
        held = exponents != 0.0
        copies = int(held.sum()) // len(prompts)
        with context() as module:
            self._reader = Reader(module, prompts, copies, limit, pad)
            device = next(module.parameters()).device
        self._exponents = exponents[held].to(device)
        self._places = held.nonzero()[:, 0].to(device)

    @property
    def rows(self) -> int:
        """How many rows consult this model, of those that have not ended."""
        return len(self._places)

    def add(
        self, total: torch.Tensor | None, newest: torch.Tensor | None, rows: int
    ) -> torch.Tensor:
        """Add this model's logits of the next token to the total, at least in float32."""
        with self._context() as module:
            if newest is None:
                logits = self._reader.first(module)
            else:
                logits = self._reader.next(module, newest[self._places])
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if bool((self._exponents != 1.0).any()):
            logits = logits * self._exponents.to(logits.dtype)[:, None]
        if total is None and len(logits) == rows:
            return logits
        if total is None:
            total = logits.new_zeros((rows, logits.shape[1]))
        return total.index_add_(0, self._places, logits)

    def keep(self, kept: Int[torch.Tensor, "row"], rows: int) -> None:
        """Forget the rows that are not kept; the others move up."""
        new = torch.full((rows,), -1, device=kept.device)
        new[kept] = torch.arange(len(kept), device=kept.device)
        moved = new[self._places]
        mine = (moved >= 0).nonzero()[:, 0]
        self._places, self._exponents = moved[mine], self._exponents[mine]
        self._reader.keep(mine)


def _drawn(
    members: Sequence[_Member],
    uniforms: Float64[torch.Tensor, "row token"],
    temperature: float,
    end: int | None,
    pad: int,
) -> Drawn:
    """Draw token by token until every row has ended."""
    rows, limit = uniforms.shape
    device = uniforms.device
    tokens = torch.full((rows, limit), pad, dtype=torch.long, device=device)
    lengths = torch.full((rows,), limit, dtype=torch.long, device=device)
    sums = torch.zeros(rows, dtype=torch.float64, device=device)
    going = torch.arange(rows, device=device)
    newest: torch.Tensor | None = None
    for step in range(limit):
        logits: torch.Tensor | None = None
        for member in members:
            if member.rows:
                logits = member.add(logits, newest, len(going))
        if logits is None:
            raise InvalidProblem("no model to draw from", "pass at least one")
        if temperature != 1.0:
            logits /= temperature
        newest, terms = draw(logits, uniforms[going, step])
        tokens[going, step] = newest
        sums[going] += terms
        if end is not None and bool((ended := newest == end).any()):
            lengths[going[ended]] = step + 1
            left = (~ended).nonzero()[:, 0]
            if len(left) == 0:
                break
            for member in members:
                member.keep(left, len(going))
            going, newest = going[left], newest[left]
    return tokens, lengths, sums
