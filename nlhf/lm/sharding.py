"""A model whose weights, gradients and optimiser are spread over processes (FSDP)."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from nlhf.errors import InvalidProblem
from nlhf.lm.engine import Accelerated, Parameters, Weights


class Sharded(Accelerated):
    """Processes that each hold a part of every weight, by PyTorch's `fully_shard`.

    Between uses a process holds its part of the weights, of the gradients and of the optimiser.
    While the module runs it is whole in every process: responses of different lengths then need
    no exchange between tokens. Weights of strategies are parts as well.

    Args:
        accelerator: Of the accelerate library, with several processes.
    """

    sharded: bool = True

    def __init__(self, accelerator: Accelerator) -> None:
        super().__init__(accelerator)
        self._units: list[FSDPModule] = []

    def loading_device(self) -> torch.device:
        """Return the CPU: a device may not have room for all, and gets its part block by block."""
        return torch.device("cpu")

    def prepared(self, module: Any) -> Any:
        """Return the module, sharded in place: block by block, and the rest together.

        Raises:
            InvalidProblem: If the architecture does not say what its blocks are.
        """
        names = set(getattr(module, "_no_split_modules", None) or ())
        blocks = [part for part in module.modules() if type(part).__name__ in names]
        if not blocks:
            raise InvalidProblem(
                f"{type(module).__name__} does not say what its blocks are (_no_split_modules)",
                "use an architecture of transformers, or leave sharding out",
            )
        mesh = init_device_mesh(self.accelerator.device.type, (self.world,))
        for part in [*blocks, module]:
            self._units.append(fully_shard(part, mesh=mesh, reshard_after_forward=False))
        for unit in self._units:
            unit.set_gradient_divide_factor(1.0)  # the sum, not the mean
            unit.set_force_sum_reduction_for_comms(True)
        with torch.no_grad():  # the first pass tells it which of its units is the root
            module(input_ids=torch.zeros((1, 1), dtype=torch.long, device=self.accelerator.device))
        self._reshard()
        return module

    def agreed(self, key: str) -> str:
        """Return a digest of all processes' keys."""
        digests = [""] * self.world
        torch.distributed.all_gather_object(digests, key)
        return hashlib.sha256("|".join(digests).encode()).hexdigest()

    def synchronise(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Do nothing: the backward passes have summed."""

    def clip(self, parameters: Sequence[torch.nn.Parameter], limit: float) -> float:
        """Scale the gradients down to a norm of at most `limit`; return the norm before."""
        norm = torch.nn.utils.clip_grad_norm_(parameters, limit)
        return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)

    def held(self, parameters: Parameters) -> dict[str, torch.Tensor]:
        """Return this process's parts of the parameters, not copied."""
        return {name: _local(p) for name, p in parameters.items()}

    def put(self, parameters: Parameters, weights: Weights) -> None:
        """Give the parameters copies of these values."""
        with torch.no_grad():
            for name, p in parameters.items():
                _local(p).copy_(weights[name])

    @contextmanager
    def playing(self, module: Any, parameters: Parameters, weights: Weights) -> Iterator[None]:
        """Let the module have these weights; afterwards it has its own again.

        What is held is where gathering reads from, so the values are copied, part by part.
        """
        before = {name: value.clone() for name, value in self.held(parameters).items()}
        try:
            self.put(parameters, weights)
            with self.reading(module):
                yield
        finally:
            self.put(parameters, before)

    @contextmanager
    def reading(self, module: Any) -> Iterator[None]:
        """Gather the module while it is run forward; for a backward pass it stays so until then."""
        for unit in self._units:
            unit.unshard()
        try:
            yield
        finally:
            if not torch.is_grad_enabled():
                self._reshard()

    def whole(self, part: torch.Tensor, parameter: torch.nn.Parameter) -> torch.Tensor:
        """Return all of a tensor that is laid out as a parameter, given this process's part."""
        if isinstance(part, DTensor):
            return part.full_tensor()
        if part.shape != _local(parameter).shape:
            return part  # the optimiser's own count of steps
        like = _laid_out(parameter)
        laid = DTensor.from_local(
            part,
            like.device_mesh,
            like.placements,
            run_check=False,
            shape=parameter.shape,
            stride=parameter.stride(),
        )
        return laid.full_tensor()

    def everything(self, module: Any) -> dict[str, torch.Tensor]:
        """Return the module's weights, tied ones once, and the buffers that are saved."""
        saved = module.state_dict()
        buffers = {name: b for name, b in module.named_buffers() if name in saved}
        found = {}
        for name, value in [*module.named_parameters(), *buffers.items()]:
            whole = value.full_tensor() if isinstance(value, DTensor) else value
            found[name] = whole.detach().cpu()
        return found

    def part(self, whole: torch.Tensor, parameter: torch.nn.Parameter) -> torch.Tensor:
        """Return this process's part of a tensor, laid out as a parameter and on its device."""
        return _local(self.laid_out(whole, parameter))

    def laid_out(self, whole: torch.Tensor, parameter: torch.nn.Parameter) -> torch.Tensor:
        """Return a tensor spread over the processes as a parameter is."""
        like = _laid_out(parameter)
        return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements)

    def _reshard(self) -> None:
        for unit in self._units:
            unit.reshard()


def _laid_out(p: torch.Tensor) -> DTensor:
    if not isinstance(p, DTensor):
        raise TypeError(f"a {type(p).__name__} is not laid out over processes")
    return p


def _local(p: torch.Tensor) -> torch.Tensor:
    value = p.data
    return value.to_local() if isinstance(value, DTensor) else value
