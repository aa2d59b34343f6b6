"""What a training run is: a TOML file, section by section."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from nlhf.errors import InvalidData
from nlhf.training.toml import read_toml, section_of


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The policy.

    Attributes:
        name: A folder, or an id on the hub.
        revision: Branch, tag or commit on the hub.
        dtype: Of the weights: float32, bfloat16, float64.
        limit: Most new tokens of a response.
        temperature: Of the policy itself, in sampling and in log-probabilities.
        micro_batch: Sequences in one forward pass; it changes memory and speed, nothing else.
        fixed_length: Responses all have `limit` tokens, none ends earlier.
        end_token: The token that ends a response, if not the tokenizer's own end token.
        chat_template: ``tulu`` or a Jinja template, if not the tokenizer's own.
        gradient_checkpointing: Compute activations again on the way back, to hold fewer.
        trust_remote_code: Run code that comes with the model.
    """

    name: str
    revision: str | None = None
    dtype: str = "float32"
    limit: int = 64
    temperature: float = 1.0
    micro_batch: int = 32
    fixed_length: bool = False
    end_token: str | None = None
    chat_template: str | None = None
    gradient_checkpointing: bool = False
    trust_remote_code: bool = False


@dataclass(frozen=True, slots=True)
class LoraConfig:
    """Low-rank adapters, in place of training all weights.

    Attributes:
        rank: Of the adapters.
        alpha: Their scale.
        targets: Names of the layers; none for those that suit the architecture.
    """

    rank: int = 16
    alpha: float = 32.0
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DataConfig:
    """The prompts, in TRL's formats.

    Attributes:
        prompts: A file (JSON lines, JSON, Parquet) or a data set's id on the hub.
        subset: Of a data set on the hub.
        split: Of a data set on the hub.
        chat: Give plain prompts as a user's turn to the chat template.
        first: Use only so many prompts; 0 for all.
        held_out: So many of them, the last ones, are for evaluation and never trained on; 0 for
            evaluation on training prompts.
    """

    prompts: str
    subset: str | None = None
    split: str = "train"
    chat: bool = False
    first: int = 0
    held_out: int = 0


@dataclass(frozen=True, slots=True)
class JudgeConfig:
    """What responses are worth: exactly one of `preference`, `reward` and `rewards`.

    Each names an object as ``package.module:name`` or ``folder/file.py:name``, the file relative
    to the configuration: a callable on texts (`nlhf.lm.judges.callables`), or a `PreferenceModel`
    or `RewardModel`. It is code that is run.

    Attributes:
        preference: ``judge(prompts, pairs) -> probabilities`` that the first is preferred.
        reward: A reward function in TRL's form.
        rewards: One for every group, for MaxMin.
        debias: Ask a judge both orders of every pair.
        batch: Pairs or responses in one call.
    """

    preference: str | None = None
    reward: str | None = None
    rewards: tuple[str, ...] = ()
    debias: bool = True
    batch: int = 1024


@dataclass(frozen=True, slots=True)
class GameConfig:
    """What is played for.

    Attributes:
        kind: ``preference``, ``reward`` or ``maxmin``.
        temperature: τ, the price of one nat of KL to the reference, in payoff units.
        prompts_per_step: Prompts of one evaluation, drawn anew for each; 0 for all.
        opponents: Responses of the opponent to every prompt (preference), or of the policy by
            which groups' utilities are estimated (maxmin).
        group_temperature: κ, of whoever picks the group (maxmin).
        proportions: Of the groups; uniform if none are given (maxmin).
        offsets: ``reference`` or ``as given``: what makes groups' rewards comparable (maxmin).
    """

    kind: str = "preference"
    temperature: float = 0.1
    prompts_per_step: int = 0
    opponents: int = 16
    group_temperature: float = 0.0
    proportions: tuple[float, ...] = ()
    offsets: str = "reference"


@dataclass(frozen=True, slots=True)
class AlgorithmConfig:
    """The method, by its name in `nlhf.algorithms.published.ALGORITHMS`.

    Attributes:
        name: Of the method.
        average: Play the average of all iterates.
        settings: What else stands in the section: arguments of the method, such as step_size.
    """

    name: str = "extragradient"
    average: bool = False
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RealiserConfig:
    """How proximal steps are carried out.

    Attributes:
        kind: ``pairwise-regression`` or ``policy-gradient``.
        draws: Responses of the current policy to every prompt.
        reference_draws: Of the reference, to fit on as well (pairwise regression).
        held_out: Of the current policy, not fitted on, by which the fit is judged (pairwise
            regression); 0 for none, or at least 2.
        audit_draws: Of the new policy, by which the residual is measured; at least 2, for it is a
            variance.
        audit_every: Proximal steps between two such measurements.
        candidates: Responses drawn for every one of a geometric mixture.
        tokenwise: Play geometric mixtures token by token: a named approximation.
    """

    kind: str = "pairwise-regression"
    draws: int = 16
    reference_draws: int = 0
    held_out: int = 0
    audit_draws: int = 8
    audit_every: int = 1
    candidates: int = 8
    tokenwise: bool = False


@dataclass(frozen=True, slots=True)
class OptimiserConfig:
    """Adam, whose moments outlive proximal steps.

    Attributes:
        steps: Gradient steps in one proximal step.
        learning_rate: At the start.
        final_share: Share of it that is left at the end.
        planned: Optimiser steps over which it falls; 0 keeps it.
        betas: Of Adam.
        clip: Largest norm of a gradient; 0 for none.
    """

    steps: int = 4
    learning_rate: float = 1e-4
    final_share: float = 0.02
    planned: int = 0
    betas: tuple[float, ...] = (0.9, 0.99)
    clip: float = 1.0


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The run itself.

    Attributes:
        out: The folder for everything that it writes.
        steps: Of the algorithm.
        seed: Of all randomness.
        save_every: Steps between two checkpoints; as many are lost at most.
        keep: Checkpoints that are kept.
        evaluate_every: Steps between two evaluations with a table of samples; 0 for none.
        evaluation_prompts: How many prompts are evaluated on.
        evaluation_draws: Responses to each.
        samples: Prompts of the table of samples.
        tensorboard: Also write for TensorBoard.
        mixed_precision: ``no``, or ``bf16`` for forward passes in bfloat16 of float32 weights; as
            the launcher says if it is not given.
        sharded: Spread the weights over the processes (FSDP).
        cpu: Run on the CPU though there is an accelerator.
    """

    out: str
    steps: int = 100
    seed: int = 0
    save_every: int = 1
    keep: int = 2
    evaluate_every: int = 10
    evaluation_prompts: int = 64
    evaluation_draws: int = 4
    samples: int = 4
    tensorboard: bool = False
    mixed_precision: str | None = None
    sharded: bool = False
    cpu: bool = False


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """A training run, section by section.

    Attributes:
        model: The policy.
        data: The prompts.
        judge: What responses are worth.
        run: The run itself.
        lora: Adapters; `None` trains all weights.
        game: What is played for.
        algorithm: The method.
        realiser: How proximal steps are carried out.
        optimiser: Its gradient steps.
        folder: What relative paths start from: the folder of the file, or the current one.
    """

    model: ModelConfig
    data: DataConfig
    judge: JudgeConfig
    run: RunConfig
    lora: LoraConfig | None = None
    game: GameConfig = field(default_factory=GameConfig)
    algorithm: AlgorithmConfig = field(default_factory=AlgorithmConfig)
    realiser: RealiserConfig = field(default_factory=RealiserConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    folder: Path = field(default_factory=Path)

    def __post_init__(self) -> None:
        _check(self)

    def path(self, name: str) -> Path:
        """Return a path of the file, relative to the folder."""
        return self.folder / Path(name).expanduser()

    def named(self, name: str) -> str:
        """Return a folder or file that is there under a relative path, or else the name as it is.

        What is not there may be an id on the hub.
        """
        found = self.path(name)
        return str(found) if found.exists() else name


SECTIONS: dict[str, type[Any]] = {
    "model": ModelConfig,
    "data": DataConfig,
    "judge": JudgeConfig,
    "run": RunConfig,
    "lora": LoraConfig,
    "game": GameConfig,
    "algorithm": AlgorithmConfig,
    "realiser": RealiserConfig,
    "optimiser": OptimiserConfig,
}
"""The sections of a file; model, data, judge and run must be there."""

CONFIG, POLICY = "config.json", "policy"
"""What a run writes its configuration and its policy to, in its folder."""

_FREE = {
    "run": (
        "out",
        "steps",
        "save_every",
        "keep",
        "evaluate_every",
        "evaluation_prompts",
        "evaluation_draws",
        "samples",
        "tensorboard",
        "sharded",
        "cpu",
    ),
    "model": ("name", "micro_batch", "gradient_checkpointing"),
    "data": ("prompts",),
    "judge": ("preference", "reward", "rewards", "batch"),
}
"""Keys that may change when a run is resumed: its trajectory does not depend on them, or (names of
files, which may have moved) what they name is known in other ways or is to be repaired."""

_REQUIRED = ("model", "data", "judge", "run")
_KINDS = ("preference", "reward", "maxmin")
_REALISERS = ("pairwise-regression", "policy-gradient")


def read_config(path: Path | str) -> TrainingConfig:
    """Read the TOML file of a run.

    Raises:
        InvalidData: It is not TOML, a section or key is missing, not known or of the wrong type;
            the message names the key.
    """
    path = Path(path)
    return config_of(read_toml(path), str(path), path.parent)


def config_of(document: dict[str, Any], name: str, folder: Path) -> TrainingConfig:
    """Return the run that the sections of a document say.

    Args:
        document: Sections by name, each with its keys.
        name: What the document is called in errors.
        folder: What its relative paths start from.

    Raises:
        InvalidData: As `read_config`.
    """
    unknown = sorted(set(document) - set(SECTIONS))
    missing = [section for section in _REQUIRED if section not in document]
    if unknown or missing:
        what = f"no section [{missing[0]}]" if missing else f"a section [{unknown[0]}]"
        raise InvalidData(
            f"{name} has {what}",
            f"write the sections {', '.join(_REQUIRED)}, and as needed "
            f"{', '.join(s for s in SECTIONS if s not in _REQUIRED)}",
        )
    parts: dict[str, Any] = {}
    for section, keys in document.items():
        if section == "algorithm":
            keys = _with_settings(keys)
        parts[section] = section_of(SECTIONS[section], keys, f"{name}: [{section}]")
    return TrainingConfig(**parts, folder=folder)


def sections(config: TrainingConfig) -> dict[str, dict[str, Any]]:
    """Return the configuration as the document that it was read from, defaults filled in."""
    document = asdict(config)
    del document["folder"]
    algorithm = document["algorithm"]
    document["algorithm"] = {k: algorithm[k] for k in ("name", "average")} | algorithm["settings"]
    kept = {name: keys for name, keys in document.items() if keys is not None}
    return {
        name: {key: value for key, value in keys.items() if value is not None}
        for name, keys in kept.items()
    }


def identity(config: TrainingConfig) -> dict[str, Any]:
    """Return what a run's trajectory depends on, by the keys of the configuration."""
    kept = {
        f"[{section}] {key}": value
        for section, keys in sections(config).items()
        for key, value in keys.items()
        if key not in _FREE.get(section, ())
    }
    judge = config.judge
    given = [n for n in ("preference", "reward", "rewards") if getattr(judge, n)]
    return kept | {"[judge] gives": f"{given[0]}, {max(1, len(judge.rewards))}"}


def _with_settings(keys: Any) -> Any:
    """Put the arguments of the method, which are checked when it is made, under `settings`."""
    if not isinstance(keys, dict):
        return keys
    own = {key: value for key, value in keys.items() if key in ("name", "average")}
    rest = {key: value for key, value in keys.items() if key not in own}
    return {**own, "settings": rest}


def _check(config: TrainingConfig) -> None:
    """Refuse what no section can see by itself.

    Raises:
        InvalidData: The first thing that is wrong.
    """
    judge, game, run = config.judge, config.game, config.run
    _require(game.kind in _KINDS, "[game] kind", game.kind, f"choose among {', '.join(_KINDS)}")
    kind = config.realiser.kind
    _require(kind in _REALISERS, "[realiser] kind", kind, f"choose among {', '.join(_REALISERS)}")
    given = [n for n in ("preference", "reward", "rewards") if getattr(judge, n)]
    wanted = {"preference": ["preference", "reward"], "reward": ["reward"], "maxmin": ["rewards"]}
    _require(
        len(given) == 1 and given[0] in wanted[game.kind],
        "[judge]",
        f"{', '.join(given) or 'nothing'} given for a game of kind {game.kind}",
        f"give {' or '.join(wanted[game.kind])}, and nothing else of these",
    )
    for name in ("steps", "save_every", "keep", "evaluation_prompts", "evaluation_draws"):
        number = getattr(run, name)
        _require(number >= 1, f"[run] {name}", number, "give a positive whole number")
    _require(run.evaluate_every >= 0, "[run] evaluate_every", run.evaluate_every, "give 0 or more")
    _require(
        config.data.held_out >= 0 and config.data.first >= 0,
        "[data] first and held_out",
        (config.data.first, config.data.held_out),
        "give whole numbers of at least 0",
    )
    for name in ("seed", "samples"):
        number = getattr(run, name)
        _require(number >= 0, f"[run] {name}", number, "give a whole number of at least 0")
    betas = config.optimiser.betas
    _require(
        len(betas) == 2 and all(0.0 <= beta < 1.0 for beta in betas),
        "[optimiser] betas",
        betas,
        "give two numbers of at least 0 and below 1, as [0.9, 0.99]",
    )
    _check_draws(config.realiser)
    _check_proportions(game.proportions, len(judge.rewards))


def _check_draws(realiser: RealiserConfig) -> None:
    """Refuse numbers of responses of which there are no pairs, or no variance.

    Raises:
        InvalidData: The first thing that is wrong.
    """
    least = 2 if realiser.kind == "pairwise-regression" and not realiser.reference_draws else 1
    for name, number, lowest in (
        ("draws", realiser.draws, least),
        ("audit_draws", realiser.audit_draws, 2),
        ("candidates", realiser.candidates, 1),
    ):
        _require(number >= lowest, f"[realiser] {name}", number, f"give at least {lowest}")
    held_out = realiser.held_out
    _require(held_out == 0 or held_out >= 2, "[realiser] held_out", held_out, "give 0 or 2 or more")


def _check_proportions(proportions: tuple[float, ...], groups: int) -> None:
    """Refuse what is no distribution over the groups.

    Raises:
        InvalidData: It is none.
    """
    _require(
        not proportions
        or (
            len(proportions) == groups
            and min(proportions) >= 0.0
            and abs(sum(proportions) - 1.0) <= 1e-9
        ),
        "[game] proportions",
        proportions,
        f"give a number of at least 0 for each of the {groups} rewards, 1 together to within 1e-9",
    )


def _require(holds: bool, key: str, found: object, fix: str) -> None:
    if not holds:
        raise InvalidData(f"{key} is {found!r}" if key != "[judge]" else f"{key}: {found}", fix)
