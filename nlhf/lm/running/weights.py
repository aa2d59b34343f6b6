"""Weights and moments, whole on the CPU, whatever part of them a process holds."""

from collections.abc import Mapping

import torch

from nlhf.errors import InvalidData
from nlhf.lm.model import LanguageModel
from nlhf.lm.strategies import Checkpoint


def whole_weights(model: LanguageModel, checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Return all weights of a strategy on the CPU; all processes call it together."""
    parameters = model.trainable()
    return {
        name: model.engine.whole(value, parameters[name]).detach().cpu()
        for name, value in checkpoint.weights.items()
    }


def checkpoint_of(
    model: LanguageModel, weights: Mapping[str, torch.Tensor], name: str
) -> Checkpoint:
    """Return the strategy of whole weights; all processes call it together.

    Args:
        model: The model.
        weights: By the names of its trainable parameters.
        name: What they are called in errors.

    Raises:
        InvalidData: If they are not the model's.
    """
    parameters = model.trainable()
    for key in sorted(set(parameters) ^ set(weights)):
        where = "has no" if key in parameters else "has a"
        raise InvalidData(
            f"the strategy {name} {where} weight {key}, unlike the model",
            "use the model and the adapters that it was made with",
        )
    parts = {}
    for key, p in parameters.items():
        if weights[key].shape != p.shape or weights[key].dtype != p.dtype:
            raise InvalidData(
                f"{key} of the strategy {name} is {tuple(weights[key].shape)} of "
                f"{weights[key].dtype}, and {tuple(p.shape)} of {p.dtype} in the model",
                "use the model, the adapters and the dtype that it was made with",
            )
        parts[key] = model.engine.part(weights[key], p)
    return Checkpoint.of(parts, model.engine.agreed)


def whole_moment(model: LanguageModel, name: str, value: torch.Tensor) -> torch.Tensor:
    """Return all of an optimiser's tensor, named ``moment:weight``, on the CPU."""
    return model.engine.whole(value, model.trainable()[_weight(name)]).detach().cpu()


def moment_of(model: LanguageModel, name: str, value: torch.Tensor) -> torch.Tensor:
    """Return an optimiser's tensor, named ``moment:weight``, as the optimiser holds it."""
    parameter = model.trainable()[_weight(name)]
    return model.engine.laid_out(value, parameter) if value.shape == parameter.shape else value


def _weight(name: str) -> str:
    return name.partition(":")[2]
