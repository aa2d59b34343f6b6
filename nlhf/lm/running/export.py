"""Trained policies as folders that transformers and peft load."""

import os
import shutil
import warnings
from pathlib import Path

from nlhf.errors import Approximate, NotAllowed, Unsupported
from nlhf.lm.model import LanguageModel
from nlhf.lm.running.folders import remove_folder
from nlhf.lm.strategies import Checkpoint, Mixture, Strategy


def export_policy(model: LanguageModel, strategy: Strategy, folder: Path) -> Checkpoint:
    """Write a strategy as a folder of safetensors, with its tokenizer; all processes call it.

    With adapters, the folder holds the adapters and names their base. The module has the
    strategy's weights afterwards.

    Args:
        model: Whose strategy.
        strategy: A checkpoint, or a mixture, of which the heaviest member is written.
        folder: Replaced in one go.

    Returns:
        What was written.

    Raises:
        Unsupported: For strategies that are no module's weights.
        NotAllowed: If it cannot be written.

    Warns:
        Approximate: For a mixture.
    """
    chosen = _module_of(strategy)
    model.begin(chosen)
    weights = model.engine.everything(model.module)
    if model.engine.rank == 0:
        part = folder.with_name(f".part-{folder.name}")
        try:
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            model.module.save_pretrained(
                part, **({} if weights is None else {"state_dict": weights})
            )
            if model.tokenizer is not None:
                model.tokenizer.save_pretrained(part)
            if folder.exists():
                remove_folder(folder)
            os.rename(part, folder)
        except OSError as error:
            shutil.rmtree(part, ignore_errors=True)
            raise NotAllowed(
                f"the policy cannot be written to {folder}: {error.strerror}",
                "free space or permission there, and resume: the run's checkpoints are whole",
            ) from error
    model.engine.wait()
    return chosen


def _module_of(strategy: Strategy) -> Checkpoint:
    if isinstance(strategy, Checkpoint):
        return strategy
    if isinstance(strategy, Mixture):
        members = [each for each in strategy.weighted if isinstance(each[0], Checkpoint)]
        if members:
            best, weight = max(reversed(members), key=lambda pair: pair[1])
            warnings.warn(
                f"the policy is a mixture of {len(strategy.weighted)}; the newest of the heaviest "
                f"members, of weight {weight:.3g}, is written",
                Approximate,
                stacklevel=3,
            )
            assert isinstance(best, Checkpoint)
            return best
    raise Unsupported(
        f"a {type(strategy).__name__} is not the weights of one module",
        "write a checkpoint, or a mixture of checkpoints",
    )
