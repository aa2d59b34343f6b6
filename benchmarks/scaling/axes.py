"""What grows, and by which methods: each returns, for a size, the call that is timed."""

import contextlib
import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.cases import Planning
from benchmarks.scaling.games import CONTEXTS, RESPONSES, draw
from nlhf import Extragradient, PreferenceGame, StopRule, Stream, solve

STATES, RATERS, TOKENS = "states S", "raters H", "response tokens T"
Call = Callable[[], Any]

_ACTIONS, _SUCCESSORS, _HORIZON = 10, 10, 20
_GROUPS, _VOTES, _PROMPTS, _RESPONSES = 2, 20, 10, 6
_SEQUENCES, _PROMPT = 8, 16


def _game(axis: str, value: int) -> PreferenceGame:
    matrices, temperature = draw(axis, value)
    return PreferenceGame(matrices if len(matrices) > 1 else matrices[0], temperature=temperature)


def _exact(axis: str) -> Callable[[int], Call]:
    def prepare(value: int) -> Call:
        game = _game(axis, value)
        return lambda: solve(game)

    return prepare


def _extragradient(value: int) -> Call:
    game = _game(RESPONSES, value)
    rule = StopRule(gap=1e-12, max_iterations=10**7, max_seconds=60.0)
    return lambda: solve(game, Extragradient(step_size=2.0), stop=rule)


def _cvxpy(axis: str) -> Callable[[int], Call]:
    """One parametrised problem, compiled before the clock starts; a context at a time."""

    def prepare(value: int) -> Call:
        from nlhf.exact.convex import ConvexProgram

        matrices, temperature = draw(axis, value)
        n = matrices.shape[-1]
        program = ConvexProgram(n, n, (temperature, temperature))
        logs = np.full(n, -np.log(n))
        return lambda: [program.solve(p, (logs, logs)) for p in matrices]

    return prepare


def _process(states: int) -> tuple[Any, np.ndarray]:
    from benchmarks.solvers.mdp import sparse_process

    return sparse_process(Planning(states, _ACTIONS, _SUCCESSORS, 0.1))


def _soft_values(states: int) -> Call:
    """From sparse arrays in memory to values of all steps."""
    from nlhf.exact.backward_induction import soft_value_iteration
    from nlhf.spaces.mdp import MDP

    matrix, rewards = _process(states)
    uniform = np.full(states, 1.0 / states)

    def call() -> Any:
        mdp = MDP(matrix, uniform, actions=_ACTIONS)
        return soft_value_iteration(mdp, rewards, temperature=0.1, horizon=_HORIZON)

    return call


def _pymdptoolbox(states: int) -> Call:
    """From sparse arrays in memory to values of all steps, without regularisation."""
    from mdptoolbox.mdp import FiniteHorizon

    from nlhf.spaces.importers import to_pymdptoolbox
    from nlhf.spaces.mdp import MDP

    matrix, rewards = _process(states)
    listed = to_pymdptoolbox(MDP(matrix, np.full(states, 1.0 / states), actions=_ACTIONS))

    def call() -> Any:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return FiniteHorizon(listed, rewards, 1.0, _HORIZON).run()

    return call


def _mixture(assignment: str) -> Callable[[int], Call]:
    """Votes of every rater on uniform pairs; groups of 80 % and 20 %."""

    def prepare(raters: int) -> Call:
        from benchmarks.solvers.raters import electorate
        from nlhf.errors import NlhfWarning
        from nlhf.estimation import Assignment, fit_mixture

        rng = Stream(0).child("scaling", "raters", raters).generator()
        rewards = 2.0 * rng.normal(size=(_GROUPS, _PROMPTS, _RESPONSES))
        group = rng.choice(_GROUPS, size=raters, p=(0.8, 0.2))
        votes = electorate(rng, rewards, group, np.repeat(np.arange(raters), _VOTES))

        def call() -> Any:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NlhfWarning)
                return fit_mixture(
                    votes, _GROUPS, assignment=Assignment(assignment), stream=Stream(0)
                )

        return call

    return prepare


def _scored(method: str) -> Callable[[int], Call]:
    """Log-probabilities of responses to a prompt, by a small GPT-2 with a vocabulary of 16,384."""

    def prepare(tokens: int) -> Call:
        import torch

        from benchmarks.language.outer_step_setting import PAD, language_model
        from nlhf.lm.sequences.log_probabilities import sequence_log_probabilities

        torch.set_num_threads(1)
        module = language_model("small").eval()
        generator = torch.Generator().manual_seed(0)
        shape = (_SEQUENCES, _PROMPT + tokens)
        whole = torch.randint(2, module.config.vocab_size, shape, generator=generator)
        lengths = torch.full((_SEQUENCES,), tokens)
        prompts, responses = whole[:, :_PROMPT].tolist(), whole[:, _PROMPT:]

        @torch.no_grad()
        def ours() -> Any:
            return sequence_log_probabilities(module, prompts, responses, lengths, pad=PAD)

        @torch.no_grad()
        def bare() -> Any:
            logits = module(input_ids=whole).logits[:, _PROMPT - 1 : -1]
            logs = torch.log_softmax(logits, dim=-1)
            return logs.gather(-1, responses[..., None])[..., 0].double().sum(dim=-1)

        return {"log-probabilities": ours, "transformers": bare}[method]

    return prepare


def _outer_step(tokens: int) -> Call:
    """One step of Nash-MD by policy gradients: 8 prompts, 2 responses of so many tokens."""
    import torch

    from benchmarks.language.outer_step_nlhf import stepper

    torch.set_num_threads(1)
    step, numbers = stepper("nash-md", "tiny", tokens), iter(range(10**6))
    return lambda: step(next(numbers))


AXES: Mapping[str, Mapping[str, Callable[[int], Call]]] = {
    RESPONSES: {
        "exact": _exact(RESPONSES),
        "extragradient": _extragradient,
        "cvxpy": _cvxpy(RESPONSES),
    },
    CONTEXTS: {"exact": _exact(CONTEXTS), "cvxpy": _cvxpy(CONTEXTS)},
    STATES: {"soft": _soft_values, "pymdptoolbox": _pymdptoolbox},
    RATERS: {"soft": _mixture("soft"), "hard": _mixture("hard")},
    TOKENS: {
        "log-probabilities": _scored("log-probabilities"),
        "transformers": _scored("transformers"),
        "outer step": _outer_step,
    },
}
"""Peers of `peer_worker` may stand beside the methods of the first axis, TRL beside the last's."""
