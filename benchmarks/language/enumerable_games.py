r"""Equilibrium methods on language models whose games are known exactly.

``nlhf bench enumerable_games`` writes ``enumerable_games.jsonl``, a line a run, runs that are there
for the same revision not repeated, and at the end ``enumerable_games.md``.

**The games**, ten of them, all randomness from ``Stream(2026).child("enumerable games")``: a
transformer at its random start, GPT-2 or Llama in turn, answers two prompts by three of four
tokens, 64 responses each. The logit of a preference is :math:`\phi(y)^\top S \phi(y')` with S
random and skew and φ(y) a sum of random vectors of the tokens in their places and of the pairs of
neighbours, in six dimensions, scaled to standard deviation 1. No response is preferred to all
others, and the best fit of a reward is off by far (both in the table). The first five have
temperature 0.1, the others 0.03. The reference is the model itself: not uniform. Prompts hold two
different tokens: a Llama that has seen only one token, however often, predicts the same next one
every time (rotary positions are relative, and a mean of equal values is that value), so after the
prompt [2] it can represent no policy that answers 2 and 22 differently, and all methods end at the
same exploitability of 0.002 to 0.004.

**What is measured** is the exploitability of the last iterate in the exact game, certified by best
responses on the token tree. *Exact* runs list all responses, *sampled* ones draw 64 responses to
each prompt and the stated number of opponents for every proximal or gradient step.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from benchmarks.provenance import LANGUAGE_PACKAGES, ROOT, provenance, revision
from benchmarks.sizes import Size
from benchmarks.tables import write_whole
from nlhf.algorithms.extragradient import Extragradient
from nlhf.algorithms.mirror_descent import MirrorDescent
from nlhf.algorithms.nash_md import NashMD
from nlhf.algorithms.optimistic import OptimisticMirrorDescent
from nlhf.algorithms.proximal_point import ProximalPoint
from nlhf.certificates import exploitability
from nlhf.lm.draws import Sampled
from nlhf.lm.enumerate import Enumeration, TablePreference
from nlhf.lm.games import LanguageGame
from nlhf.lm.model import LanguageModel
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.realisers.policy_gradient import PolicyGradient
from nlhf.lm.realisers.regression import PairwiseRegression
from nlhf.lm.realisers.trained import Audit
from nlhf.lm.responses import Prompts
from nlhf.protocols import Algorithm
from nlhf.streams import Stream

VOCABULARY, HORIZON, WIDTH, FEATURES = 4, 3, 32, 6
PROMPTS = Prompts.of([[0, 1], [2, 3, 1]])
STREAM = Stream(2026).child("enumerable games")
REALISERS = ("regression", "policy gradient")
RESPONSES = 64
LEARNING_RATE = 0.01
TARGETS = {"exact": (0.001, 1.0), "sampled": (0.01, 0.1)}
"""Largest exploitability, and its largest share of the reference's."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a method is run.

    Attributes:
        algorithm: With its step size.
        iterations: Of the algorithm.
        trained: Proximal steps with a payoff in one iteration.
        steps: Gradient steps in one of those.
    """

    algorithm: Algorithm[Any]
    iterations: int
    trained: int
    steps: int


def settings(temperature: float, payoffs: str) -> dict[str, Setting]:
    """Return how every method is run at a temperature, with exact or sampled payoffs."""
    exact = payoffs == "exact"
    if temperature == 0.1:
        look = Extragradient(6.0 if exact else 3.0, unproven=True)
        inner = Extragradient(4.0, unproven=True)
        return {
            "mirror descent": Setting(MirrorDescent(4.0, unproven=True), 26, 1, 15),
            "extragradient": Setting(look, 12 if exact else 20, 2, 16 if exact else 10),
            "optimistic": Setting(OptimisticMirrorDescent(4.0, unproven=True), 14, 2, 14),
            "Nash-MD": Setting(NashMD(), 40, 1, 10),
            "proximal point": Setting(ProximalPoint(inner, 0.03, 4), 14, 2, 14),
        }
    if exact:
        inner = Extragradient(8.0, unproven=True)
        return {
            "mirror descent": Setting(MirrorDescent(3.0, unproven=True), 90, 1, 11),
            "extragradient": Setting(inner, 13, 2, 36),
            "optimistic": Setting(OptimisticMirrorDescent(5.0, unproven=True), 22, 2, 20),
            "Nash-MD": Setting(NashMD(), 100, 1, 10),
            "proximal point": Setting(ProximalPoint(inner, 0.03, 4), 20, 2, 20),
        }
    look = Extragradient(2.5, unproven=True)
    return {
        "mirror descent": Setting(MirrorDescent(2.5, unproven=True), 90, 1, 7),
        "extragradient": Setting(look, 32, 2, 10),
        "optimistic": Setting(OptimisticMirrorDescent(2.5, unproven=True), 30, 2, 8),
        "Nash-MD": Setting(NashMD(), 90, 1, 5),
        "proximal point": Setting(ProximalPoint(look, 0.01, 6), 36, 2, 7),
    }


OPPONENTS = {0.1: 16, 0.03: 64}
"""Of one evaluation, by temperature: at 0.03 sixteen are too few for a hundredth."""


@dataclass(frozen=True, slots=True)
class EnumerableGame:
    """One of the ten games.

    Attributes:
        number: From 0.
    """

    number: int

    @property
    def architecture(self) -> str:
        """GPT-2 and Llama in turn."""
        return ("GPT-2", "Llama")[self.number % 2]

    @property
    def temperature(self) -> float:
        """Of the first five 0.1, of the others 0.03."""
        return 0.1 if self.number < 5 else 0.03

    @property
    def stream(self) -> Stream:
        """Its randomness."""
        return STREAM.child(self.number)

    def model(self) -> LanguageModel:
        """Return the language model at its random start."""
        seed = int(self.stream.child("weights").generator().integers(2**31))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            module = _module(self.architecture)
        return LanguageModel(module, end=None, pad=0, limit=HORIZON, micro_batch=256)

    def preference(self) -> np.ndarray:
        """Return P over the 64 responses to both prompts."""
        return np.stack([_preference(self.stream.child("preference", x)) for x in range(2)])


def _module(architecture: str) -> Any:
    """Return a random model with weights large enough that places and orders of tokens matter."""
    common = {"vocab_size": VOCABULARY, "bos_token_id": None, "eos_token_id": None}
    common |= {"initializer_range": WIDTH**-0.5, "tie_word_embeddings": False}
    if architecture == "GPT-2":
        config = GPT2Config(n_positions=8, n_embd=WIDTH, n_layer=1, n_head=2, **common)
        module = GPT2LMHeadModel(config)
    else:
        module = LlamaForCausalLM(
            LlamaConfig(
                hidden_size=WIDTH,
                intermediate_size=4 * WIDTH,
                num_hidden_layers=2,
                num_attention_heads=2,
                num_key_value_heads=1,
                max_position_embeddings=16,
                pad_token_id=None,
                **common,
            )
        )
    with torch.no_grad():
        module.lm_head.weight.mul_(0.7)
    return module


def _preference(stream: Stream) -> np.ndarray:
    generator = stream.generator()
    tokens = np.stack(np.meshgrid(*[range(VOCABULARY)] * HORIZON, indexing="ij"), axis=-1).reshape(
        -1, HORIZON
    )
    features = np.zeros((len(tokens), FEATURES))
    for place in range(HORIZON):
        features += generator.normal(size=(VOCABULARY, FEATURES))[tokens[:, place]]
    for place in range(HORIZON - 1):
        table = 0.5 * generator.normal(size=(VOCABULARY, VOCABULARY, FEATURES))
        features += table[tokens[:, place], tokens[:, place + 1]]
    square = generator.normal(size=(FEATURES, FEATURES))
    logits = features @ (square - square.T) @ features.T
    return 1.0 / (1.0 + np.exp(-logits / logits.std()))


def intransitivity(preference: np.ndarray) -> tuple[bool, float]:
    """Return whether some response beats all others, and how badly the best reward fits.

    The second is the mean absolute difference in win probability between the preference and the
    Bradley-Terry model nearest to it in squared logits, whose rewards are the means of the rows.
    """
    beats = (preference > 0.5).sum(axis=2) == preference.shape[2] - 1
    logits = np.log(preference) - np.log1p(-preference)
    reward = logits.mean(axis=2)
    fitted = 1.0 / (1.0 + np.exp(reward[:, None, :] - reward[:, :, None]))
    return bool(beats.any()), float(np.abs(preference - fitted).mean())


def run(game: EnumerableGame, method: str, realiser: str, payoffs: str) -> dict[str, object]:
    """Run a method to its end and judge its last iterate in the exact game."""
    setting = settings(game.temperature, payoffs)[method]
    model, opponents = game.model(), OPPONENTS[game.temperature]
    bridge = Enumeration(model, PROMPTS, VOCABULARY)
    exact = payoffs == "exact"
    total = setting.iterations * setting.trained * setting.steps
    carried = (PairwiseRegression if realiser == "regression" else PolicyGradient)(
        game.stream.child("realiser", method, realiser, payoffs),
        Optimisation(steps=setting.steps, learning_rate=LEARNING_RATE, planned=total),
        bridge.draws if exact else Sampled(RESPONSES),
        audit=Audit(bridge.draws, every=max(1, setting.iterations * setting.trained // 3)),
    )
    table = TablePreference(game.preference(), VOCABULARY)
    played = LanguageGame(
        model,
        PROMPTS,
        table,
        game.temperature,
        carried,
        opponents=bridge.draws if exact else Sampled(opponents),
    )
    judge = bridge.exact_game(played)
    begin, cpu = time.perf_counter(), time.process_time()
    state = setting.algorithm.init(played, played.start())
    stream = game.stream.child("run", method, realiser, payoffs)
    for k in range(setting.iterations):
        state = setting.algorithm.step(played, state, stream.child("step", k))
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - cpu
    found = setting.algorithm.profile(state)[0]
    condorcet, misfit = intransitivity(table.table)
    return {
        "game": game.number,
        "architecture": game.architecture,
        "temperature": game.temperature,
        "method": method,
        "realiser": realiser,
        "payoffs": payoffs,
        "algorithm": repr(setting.algorithm),
        "iterations": setting.iterations,
        "optimiser_steps": total,
        "responses": None if exact else RESPONSES,
        "opponents": None if exact else opponents,
        "condorcet_winner": condorcet,
        "reward_misfit": misfit,
        "reference_exploitability": _judged(judge, bridge, model.reference),
        "exploitability": _judged(judge, bridge, found),
        "last_residual_nats": carried.reports[-1].residual.value,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
    }


def _judged(game: Any, bridge: Enumeration, strategy: Any) -> float:
    return exploitability(game, (bridge.policy(strategy),)).bound.value


def reached(row: dict[str, Any]) -> bool:
    """Return whether a run ended where it should."""
    most, share = TARGETS[row["payoffs"]]
    return row["exploitability"] <= min(most, share * row["reference_exploitability"])


def runs() -> Iterator[tuple[EnumerableGame, str, str, str]]:
    """Yield all runs: the exact regressions of all games, then what is left game by game."""
    games = [EnumerableGame(number) for number in range(10)]
    kinds = [(realiser, payoffs) for payoffs in TARGETS for realiser in REALISERS]
    order = [(game, kinds[0]) for game in games]
    order += [(game, kind) for game in games for kind in kinds[1:]]
    for game, (realiser, payoffs) in order:
        for method in settings(game.temperature, payoffs):
            yield game, method, realiser, payoffs


def record(folder: Path, size: Size) -> None:
    """Write ``enumerable_games.jsonl`` and ``enumerable_games.md``, a run at a time.

    What is in the file for the same revision is not run again; older rows are replaced.
    """
    torch.set_num_threads(1)
    path, here = folder / "enumerable_games.jsonl", revision(ROOT)
    found = {_key(row): row for row in rows(path)}
    for game, method, realiser, payoffs in _wanted(size):
        old = found.get((game.number, method, realiser, payoffs))
        if old is not None and old["provenance"]["revision"] == here:
            continue
        row = run(game, method, realiser, payoffs) | {"provenance": _origin()}
        found[_key(row)] = row
        write_whole(path, "".join(json.dumps(each) + "\n" for each in found.values()))
        print(
            f"game {game.number} {method}, {realiser}, {payoffs}: "
            f"{row['reference_exploitability']:.2g} -> {row['exploitability']:.2g}"
            f"{'' if reached(row) else '  NOT REACHED'} ({row['cpu_seconds']:.1f} s)",
            file=sys.stderr,
            flush=True,
        )
    write_whole(path.with_suffix(".md"), report(list(found.values())))


def _wanted(size: Size) -> Iterator[tuple[EnumerableGame, str, str, str]]:
    """Yield all runs, or Nash-MD on the first game by either realiser."""
    for game, method, realiser, payoffs in runs():
        if size is Size.FULL or (game.number == 0 and method == "Nash-MD" and payoffs == "exact"):
            yield game, method, realiser, payoffs


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["game"], row["method"], row["realiser"], row["payoffs"]


def _origin() -> dict[str, Any]:
    found = provenance(ROOT, *LANGUAGE_PACKAGES)
    return {name: found[name] for name in ("revision", "time", "python", "cpu")} | {
        "torch": torch.__version__,
        "transformers": found["versions"]["transformers"],
    }


def rows(path: Path) -> list[dict[str, Any]]:
    """Return the runs so far."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def report(found: list[dict[str, Any]]) -> str:
    """Return the table: the worst game of every method, realiser, temperature and payoff."""
    lines = [
        "# Equilibrium methods on enumerable language models",
        "",
        "The largest exploitability over the games of a row, with the smallest and largest of the",
        "reference's; seconds of one CPU thread, on average.",
        "",
        "| payoffs | temperature | method | realiser | games | reference | exploitability | "
        "worst share | reached | optimiser steps | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in found:
        key = (row["payoffs"], row["temperature"], row["method"], row["realiser"])
        groups.setdefault(key, []).append(row)
    for (payoffs, temperature, method, realiser), group in sorted(
        groups.items(), key=lambda item: (item[0][0], -item[0][1], *item[0][2:])
    ):
        before = [row["reference_exploitability"] for row in group]
        after = [row["exploitability"] for row in group]
        share = max(a / b for a, b in zip(after, before, strict=True))
        lines.append(
            f"| {payoffs} | {temperature} | {method} | {realiser} | {len(group)} | "
            f"{min(before):.3f} to {max(before):.3f} | {max(after):.2g} | {share:.2g} | "
            f"{sum(map(reached, group))} of {len(group)} | {group[0]['optimiser_steps']} | "
            f"{np.mean([row['cpu_seconds'] for row in group]):.1f} |"
        )
    misfits = [row["reward_misfit"] for row in found]
    if found:
        lines += [
            "",
            f"Games with a Condorcet winner: {sum(row['condorcet_winner'] for row in found)}. The "
            f"Bradley-Terry model nearest in logits misses win probabilities by {min(misfits):.2f} "
            f"to {max(misfits):.2f} on average.",
            "",
            f"Measured at {found[-1]['provenance']['revision']}, "
            f"{found[-1]['provenance']['time']}, {found[-1]['provenance']['cpu']}, torch "
            f"{found[-1]['provenance']['torch']}.",
        ]
    return "\n".join(lines) + "\n"
