"""Policies that were trained, opened again: to sample, to talk to, to compare."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nlhf.data.records import Origin
from nlhf.errors import InvalidData, NlhfError
from nlhf.lm.evaluation import EvaluationPlan, EvaluationRow, EvaluationTable, Measure, Player
from nlhf.lm.launch import accelerated
from nlhf.lm.loading.chat import Message, Text
from nlhf.lm.loading.datasets import PromptData, read_prompts
from nlhf.lm.loading.pretrained import context_length, dtype_named
from nlhf.lm.loading.tokenise import tokenise_prompts
from nlhf.lm.loading.tokenizers import load_tokenizer
from nlhf.lm.model import LanguageModel
from nlhf.lm.responses import Prompts
from nlhf.lm.running.checkpoints import RunCheckpoints
from nlhf.lm.running.opening import adapter_base, open_module, tokenizer_place
from nlhf.lm.strategies import Strategy
from nlhf.streams import Stream
from nlhf.training.building import built_algorithm, built_model, built_tokenizer
from nlhf.training.config import (
    CONFIG,
    POLICY,
    JudgeConfig,
    TrainingConfig,
    config_of,
    identity,
)
from nlhf.training.judging import Judges


@dataclass(frozen=True, slots=True)
class Speaking:
    """How a policy is to speak, where its run does not say.

    Attributes:
        limit: Most new tokens of a response; `None` as in the run, else 128.
        temperature: Of the policy; `None` as in the run, else 1.
        dtype: Of the weights; `None` as in the run, else float32.
    """

    limit: int | None = None
    temperature: float | None = None
    dtype: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """A policy that can be asked.

    Attributes:
        model: The language model.
        strategy: Its strategy.
        templated: Whether plain prompts go through the chat template.
        own_reference: Whether `model.reference` is what it was trained from: not so for a folder
            of whole weights, which does not say what that was.
    """

    model: LanguageModel
    strategy: Strategy
    templated: bool
    own_reference: bool

    def prompts(self, texts: Sequence[Text]) -> Prompts:
        """Return texts or conversations as prompts.

        Raises:
            InvalidData: One is empty, or leaves no room for the response.
        """
        origin = Origin("the prompts", lambda row: f"number {row + 1}")
        data = PromptData(tuple(texts), tuple(range(len(texts))), (), origin)
        return self.tokenised(data.as_chat() if self.templated else data)

    def tokenised(self, data: PromptData) -> Prompts:
        """Return prompts in tokens.

        Raises:
            InvalidData: As `prompts`.
        """
        return tokenise_prompts(
            data,
            self.model.tokenizer,
            context=context_length(self.model.module.config),
            limit=self.model.limit,
        )

    def answers(self, texts: Sequence[Text], count: int, stream: Stream) -> list[list[str]]:
        """Return `count` sampled responses to every prompt."""
        found = self.model.sample(self.strategy, self.prompts(texts), count, stream)
        return self.model.texts(found)


def opened(folder: Path | str, speaking: Speaking | None = None) -> Policy:
    """Open a policy.

    Args:
        folder: What a run wrote, finished or not: the newest checkpoint on the model that the run
            started from, or if that is gone what it exported; a model or an adapter as
            transformers and peft save them; or a model's id on the hub.
        speaking: How it is to speak, where its run does not say or is overruled.

    Raises:
        InvalidData: There is no policy there.
    """
    wish = Speaking() if speaking is None else speaking
    path = Path(folder)
    if (path / "checkpoints").is_dir() and (path / CONFIG).is_file():
        return _of_run(path, wish)
    parent = path.parent / CONFIG
    if path.name == POLICY and parent.is_file():
        return _of_run(path.parent, wish)
    tokenizer = load_tokenizer(tokenizer_place(str(folder)))
    return _of_folder(str(folder), tokenizer, _complete(wish, _DEFAULT), False)


def _of_run(folder: Path, wish: Speaking) -> Policy:
    config = _config_of_run(folder)
    own = (config.model.limit, config.model.temperature, config.model.dtype)
    limit, temperature, dtype = _complete(wish, own)
    speaking = replace(config.model, limit=limit, temperature=temperature, dtype=dtype)
    config = replace(config, model=speaking)
    try:
        model = built_model(config, built_tokenizer(config), accelerated(cpu=config.run.cpu))
        return Policy(model, _newest(folder, config, model), config.data.chat, True)
    except NlhfError:  # its model has gone, or its checkpoints have: there may be what it exported
        policy = folder / POLICY
        if not all((policy / name).is_file() for name in ("config.json", "tokenizer_config.json")):
            raise
    return _of_folder(
        str(policy),
        load_tokenizer(policy),
        (limit, temperature, dtype),
        config.data.chat,
        fixed_length=config.model.fixed_length,
    )


def _config_of_run(folder: Path) -> TrainingConfig:
    path = folder / CONFIG
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        document, place = said["sections"], Path(said["folder"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidData(
            f"{path} is not what a run writes ({type(error).__name__}: {error})",
            f"run its TOML file again, or remove this file and give the folder {folder / POLICY}",
        ) from error
    return config_of(document, str(path), place)


def _newest(folder: Path, config: TrainingConfig, model: LanguageModel) -> Strategy:
    """Return the policy of the newest whole checkpoint."""
    checkpoints = RunCheckpoints(folder / "checkpoints", model, identity(config), keep=1)
    found = checkpoints.newest(any_run=True)
    if found is None:
        raise InvalidData(
            f"{folder} holds no checkpoint yet", "wait for the run's first one, or train it"
        )
    strategy: Strategy = built_algorithm(config).profile(found.state)[0]
    return strategy


def _of_folder(
    name: str,
    tokenizer: Any,
    speaking: tuple[int, float, str],
    templated: bool,
    *,
    fixed_length: bool = False,
) -> Policy:
    """Open a model, or an adapter on the model that it names."""
    limit, temperature, dtype = speaking
    model = LanguageModel(
        open_module(name, dtype_named(dtype)),
        end=None if fixed_length else tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
        limit=limit,
        temperature=temperature,
        tokenizer=tokenizer,
        engine=accelerated(),
    )
    return Policy(model, model.snapshot(), templated, adapter_base(name) is not None)


_DEFAULT = (128, 1.0, "float32")


def _complete(wish: Speaking, default: tuple[int, float, str]) -> tuple[int, float, str]:
    """Return limit, temperature and dtype: as wished, or else the defaults."""
    return (
        default[0] if wish.limit is None else wish.limit,
        default[1] if wish.temperature is None else wish.temperature,
        default[2] if wish.dtype is None else wish.dtype,
    )


class Talk:
    """A conversation with a policy.

    Args:
        policy: Who answers.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._turns: list[Message] = []
        self._text = ""

    def answer(self, line: str, stream: Stream) -> str:
        """Return the policy's answer, which from now on is part of what was said.

        Raises:
            InvalidData: The conversation leaves no room for an answer.
        """
        if getattr(self._policy.model.tokenizer, "chat_template", None) is None:
            asked: Text = self._text + line
        else:
            asked = (*self._turns, Message("user", line))
        ((said,),) = self._policy.answers([asked], 1, stream)
        if isinstance(asked, str):
            self._text = asked + said + "\n"
        else:
            self._turns = [*asked, Message("assistant", said)]
        return said


def compared(
    first: Path,
    second: Path,
    prompts: Path,
    judge: JudgeConfig,
    stream: Stream,
    *,
    count: int = 4,
    speaking: Speaking | None = None,
) -> EvaluationTable:
    """Return how two policies compare.

    Args:
        first: The folder of one.
        second: The folder of the other, against which win rates are.
        prompts: A file of prompts, in the formats of `read_prompts`.
        judge: A preference or a reward; relative paths start from the current folder.
        stream: Randomness.
        count: Responses of each to every prompt.
        speaking: How both are to speak, where their runs do not say.

    If either is of a run on chat prompts, both get plain prompts through their chat template. The
    KL to the reference is told of those whose reference is known (`Policy.own_reference`).

    Raises:
        InvalidData: The tokenizers of the two differ: judges read tokens; or as `opened`,
            `read_prompts` and the judge.
    """
    sides = [opened(folder, speaking) for folder in (first, second)]
    vocabularies = [side.model.tokenizer.get_vocab() for side in sides]
    if vocabularies[0] != vocabularies[1]:
        raise InvalidData(
            f"{first} and {second} have different tokenizers, of {len(vocabularies[0])} and "
            f"{len(vocabularies[1])} tokens",
            "compare policies of one family",
        )
    data = read_prompts(prompts)
    data = data.as_chat() if any(side.templated for side in sides) else data
    own, _ = [side.tokenised(data) for side in sides]  # there is room for it in both
    judges = Judges(judge, Path(), sides[0].model.tokenizer)
    plan = EvaluationPlan(
        own,
        {"judge": judges.preference()},
        {} if judge.reward is None else {"reward": judges.rewards()[0]},
        count,
    )
    names = (str(first), str(second) if second != first else f"{second} again")
    players = {
        name: Player(side.model, side.strategy) for name, side in zip(names, sides, strict=True)
    }
    table = plan.table(players, names[1], stream)
    rows = tuple(
        row if side.own_reference else replace(row, measures=_without_kl(row))
        for row, side in zip(table.rows, sides, strict=True)
    )
    return replace(table, rows=rows)


def _without_kl(row: EvaluationRow) -> tuple[Measure, ...]:
    return tuple(one for one in row.measures if one.name != "KL to the reference")
