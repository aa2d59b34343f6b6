"""From a configuration to the objects of a run."""

from dataclasses import dataclass, fields
from math import inf
from typing import Any

import numpy as np

from nlhf.algorithms.published import ALGORITHMS, Average
from nlhf.errors import InvalidData
from nlhf.lm.draws import Draws, Sampled
from nlhf.lm.engine import Engine
from nlhf.lm.games import LanguageGame, ModelGame, RewardGame
from nlhf.lm.launch import accelerated
from nlhf.lm.loading.adapters import LoraSettings, with_lora
from nlhf.lm.loading.datasets import read_prompts
from nlhf.lm.loading.memory import MemorySettings, explained_memory
from nlhf.lm.loading.pretrained import context_length, dtype_named, load_model
from nlhf.lm.loading.tokenise import tokenise_prompts
from nlhf.lm.loading.tokenizers import check_vocabulary, load_tokenizer
from nlhf.lm.maxmin import LanguageMaxMinGame
from nlhf.lm.model import LanguageModel
from nlhf.lm.realisers.base import Blending, Realiser
from nlhf.lm.realisers.optimisation import Optimisation
from nlhf.lm.realisers.policy_gradient import PolicyGradient
from nlhf.lm.realisers.regression import PairwiseRegression
from nlhf.lm.realisers.trained import Audit
from nlhf.lm.responses import Prompts
from nlhf.protocols import Algorithm
from nlhf.streams import Stream
from nlhf.training.config import TrainingConfig
from nlhf.training.judging import Judges
from nlhf.training.toml import section_of


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """The objects of a run.

    Attributes:
        model: The language model.
        game: What is played: a `ModelGame` with an operator.
        algorithm: The method.
        realiser: How proximal steps are carried out.
        evaluation: The prompts of evaluations.
        memory: The settings on which its memory depends, for errors.
        stream: Randomness of all.
    """

    model: LanguageModel
    game: Any
    algorithm: Algorithm[Any]
    realiser: Realiser
    evaluation: Prompts
    memory: MemorySettings
    stream: Stream


def built(config: TrainingConfig, engine: Engine | None = None) -> Run:
    """Return the objects that a configuration describes.

    Args:
        config: The configuration.
        engine: Where to run; as the configuration and the launcher say by default.

    Raises:
        NlhfError: Something is missing, wrong or too large; the message says what.
    """
    if engine is None:
        run = config.run
        engine = accelerated(mixed_precision=run.mixed_precision, cpu=run.cpu, sharded=run.sharded)
    algorithm = built_algorithm(config)  # first: what costs nothing to check
    stream = Stream(config.run.seed, ("train",))
    tokenizer = built_tokenizer(config)
    judges = Judges(config.judge, config.folder, tokenizer)
    memory = memory_settings(config)
    with explained_memory(f"loading {config.model.name}", memory):
        model = built_model(config, tokenizer, engine)
    prompts, evaluation = _prompts(config, model)
    realiser = built_realiser(config, stream.child("realiser"))
    game = _game(config, model, prompts, realiser, judges)
    return Run(model, game, algorithm, realiser, evaluation, memory, stream)


def memory_settings(config: TrainingConfig) -> MemorySettings:
    """Return the settings on which the memory of a run depends."""
    return MemorySettings(
        dtype=dtype_named(config.model.dtype),
        lora=_lora(config),
        micro_batch=config.model.micro_batch,
        prompt=1,
        limit=config.model.limit,
        gradient_checkpointing=config.model.gradient_checkpointing,
    )


def built_tokenizer(config: TrainingConfig) -> Any:
    """Return the tokenizer of a configuration."""
    return load_tokenizer(
        config.named(config.model.name),
        end_token=config.model.end_token,
        chat_template=config.model.chat_template,
        revision=config.model.revision,
        trust_remote_code=config.model.trust_remote_code,
    )


def built_model(config: TrainingConfig, tokenizer: Any, engine: Engine) -> LanguageModel:
    """Return the language model of a configuration."""
    settings = config.model
    module: Any = load_model(
        config.named(settings.name),
        dtype=dtype_named(settings.dtype),
        device=engine.loading_device(),
        revision=settings.revision,
        trust_remote_code=settings.trust_remote_code,
    )
    check_vocabulary(tokenizer, module.config)
    lora = _lora(config)
    if lora is not None:
        module = with_lora(module, lora, Stream(config.run.seed, ("adapters",)))
    if settings.gradient_checkpointing:
        module.gradient_checkpointing_enable({"use_reentrant": False})
    return LanguageModel(
        module,
        end=None if settings.fixed_length else tokenizer.eos_token_id,
        pad=tokenizer.pad_token_id,
        limit=settings.limit,
        temperature=settings.temperature,
        tokenizer=tokenizer,
        micro_batch=settings.micro_batch,
        engine=engine,
    )


def built_algorithm(config: TrainingConfig) -> Algorithm[Any]:
    """Return the method of a configuration.

    Raises:
        InvalidData: If there is no method of that name, or it has no such argument.
        HypothesisViolated: If an argument is out of range.
    """
    chosen = config.algorithm
    if chosen.name not in ALGORITHMS:
        raise InvalidData(
            f"[algorithm] name is {chosen.name!r}", f"choose among {', '.join(ALGORITHMS)}"
        )
    algorithm = section_of(ALGORITHMS[chosen.name], dict(chosen.settings), "[algorithm]")
    return Average(algorithm) if chosen.average else algorithm


def built_realiser(config: TrainingConfig, stream: Stream) -> Realiser:
    """Return the realiser of a configuration.

    Raises:
        HypothesisViolated: If a number is out of range.
    """
    own, steps = config.realiser, config.optimiser
    optimisation = Optimisation(
        steps=steps.steps,
        learning_rate=steps.learning_rate,
        final_share=steps.final_share,
        planned=steps.planned,
        betas=(steps.betas[0], steps.betas[1]),
        clip=steps.clip or inf,
    )
    audit = Audit(Sampled(own.audit_draws), own.audit_every)
    blending = Blending(own.candidates, own.tokenwise)
    if own.kind == "policy-gradient":
        return PolicyGradient(
            stream, optimisation, Sampled(own.draws), audit=audit, blending=blending
        )
    return PairwiseRegression(
        stream,
        optimisation,
        Sampled(own.draws),
        reference_draws=_optional(own.reference_draws),
        held_out=_optional(own.held_out),
        audit=audit,
        blending=blending,
    )


def _optional(count: int) -> Draws | None:
    return Sampled(count) if count else None


def _lora(config: TrainingConfig) -> LoraSettings | None:
    if config.lora is None:
        return None
    return LoraSettings(**{f.name: getattr(config.lora, f.name) for f in fields(config.lora)})


def _prompts(config: TrainingConfig, model: LanguageModel) -> tuple[Prompts, Prompts]:
    """Return the prompts to train on, and those to evaluate on."""
    data = config.data
    found = read_prompts(config.named(data.prompts), subset=data.subset, split=data.split)
    if data.first:
        found = found.take(range(min(data.first, len(found))))
    if data.chat:
        found = found.as_chat()
    prompts = tokenise_prompts(
        found,
        model.tokenizer,
        context=context_length(model.module.config),
        limit=config.model.limit,
    )
    if data.held_out >= len(prompts):
        raise InvalidData(
            f"[data] held_out is {data.held_out}, of {len(prompts)} prompts",
            "leave prompts to train on",
        )
    split = len(prompts) - data.held_out
    train = prompts.take(range(split))
    others = prompts.take(range(split, len(prompts))) if data.held_out else train
    return train, others.take(range(min(config.run.evaluation_prompts, len(others))))


def _game(
    config: TrainingConfig,
    model: LanguageModel,
    prompts: Prompts,
    realiser: Realiser,
    judges: Judges,
) -> ModelGame:
    game = config.game
    per_step = game.prompts_per_step or None
    if game.kind == "reward":
        return RewardGame(
            model,
            prompts,
            judges.rewards()[0],
            game.temperature,
            realiser,
            prompts_per_step=per_step,
        )
    if game.kind == "maxmin":
        return LanguageMaxMinGame(
            model,
            prompts,
            judges.rewards(),
            game.temperature,
            realiser,
            proportions=np.array(game.proportions) if game.proportions else None,
            group_temperature=game.group_temperature,
            draws=Sampled(game.opponents),
            offsets=game.offsets,
            prompts_per_step=per_step,
        )
    return LanguageGame(
        model,
        prompts,
        judges.preference(),
        game.temperature,
        realiser,
        opponents=Sampled(game.opponents),
        prompts_per_step=per_step,
    )
