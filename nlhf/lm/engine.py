"""Where a language model runs, in which precision, and with which other processes.

Every process holds its share of the prompts, and gradients are *summed*: losses are means over the
prompts of all processes, and the randomness of a prompt is keyed by its row, so that a run on many
processes is the run on one. Whatever is decided at random is decided alike in all of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator

from nlhf.errors import InvalidProblem

Parameters = Mapping[str, torch.nn.Parameter]
"""Trainable parameters by name."""

Weights = Mapping[str, torch.Tensor]
"""What a process holds of their values: all, or its shards."""

_BUCKET = 1 << 25
"""Numbers summed over processes in one message: 128 MiB in float32."""


class Engine:
    """One process, on the device and in the precision of the weights."""

    world: int = 1
    rank: int = 0
    sharded: bool = False
    """Whether processes hold parts of the weights only."""

    def prepared(self, module: Any) -> Any:
        """Return the module as it is trained here."""
        return module

    def loading_device(self) -> torch.device:
        """Return where a module is best loaded to, before `prepared` takes it."""
        return torch.device("cpu")

    def close(self) -> None:
        """Leave the other processes; nothing can be exchanged with them afterwards."""

    def autocast(self) -> AbstractContextManager[None]:
        """Return a context in which a forward pass has this engine's precision."""
        return nullcontext()

    def share(self, count: int) -> range:
        """Return which of so many prompts are this process's.

        Raises:
            InvalidProblem: If there are fewer prompts than processes.
        """
        if count < self.world:
            raise InvalidProblem(
                f"{count} prompts for {self.world} processes",
                "use at least as many prompts in a step as there are processes",
            )
        return range(count * self.rank // self.world, count * (self.rank + 1) // self.world)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over all processes, in all of them."""
        return values

    def totals(self, numbers: Sequence[float]) -> list[float]:
        """Return the sums of the processes' numbers, in all of them."""
        return [float(n) for n in self.total(torch.tensor(numbers, dtype=torch.float64)).tolist()]

    def total_count(self, count: int) -> int:
        """Return the sum of the processes' counts, in all of them."""
        return int(self.total(torch.tensor(count, dtype=torch.int64)))

    def most(self, count: int) -> int:
        """Return the largest of the processes' counts, in all of them."""
        return count

    def wait(self) -> None:
        """Return when all processes have come here."""

    def peak_memory(self) -> float:
        """Return the most memory that tensors held on a CUDA device here, in GiB; 0 on others."""
        if not torch.cuda.is_available():
            return 0.0
        return torch.cuda.max_memory_allocated() / 2**30

    def agreed(self, key: str) -> str:
        """Return one key for what the processes hold together, given that of their own part."""
        return key

    def synchronise(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Make every process hold the sum of all their gradients."""

    def clip(self, parameters: Sequence[torch.nn.Parameter], limit: float) -> float:
        """Scale the gradients down to a norm of at most `limit`; return the norm before."""
        return float(torch.nn.utils.clip_grad_norm_(parameters, limit))

    def held(self, parameters: Parameters) -> dict[str, torch.Tensor]:
        """Return what this process holds of the parameters now, not copied."""
        return {name: p.data for name, p in parameters.items()}

    def put(self, parameters: Parameters, weights: Weights) -> None:
        """Give the parameters copies of these values."""
        for name, p in parameters.items():
            p.data = weights[name].clone()

    @contextmanager
    def playing(self, module: Any, parameters: Parameters, weights: Weights) -> Iterator[None]:
        """Let the module have these weights, without copies; afterwards it has its own again."""
        before = self.held(parameters)
        try:
            for name, p in parameters.items():
                p.data = weights[name]
            torch.clear_autocast_cache()  # it knows parameters by name, not by what they hold
            yield
        finally:
            for name, p in parameters.items():
                p.data = before[name]
            torch.clear_autocast_cache()

    def reading(self, module: Any) -> AbstractContextManager[None]:
        """Return a context in which the module can be run forward part by part."""
        return nullcontext()

    def whole(self, part: torch.Tensor, parameter: torch.nn.Parameter) -> torch.Tensor:
        """Return all of a tensor that is laid out as a parameter, given this process's part."""
        return part

    def everything(self, module: Any) -> dict[str, torch.Tensor] | None:
        """Return the module's weights whole on the CPU, or `None` if it holds them itself."""
        return None

    def part(self, whole: torch.Tensor, parameter: torch.nn.Parameter) -> torch.Tensor:
        """Return this process's part of a tensor, laid out as a parameter and on its device."""
        return whole.to(parameter.device)

    def laid_out(self, whole: torch.Tensor, parameter: torch.nn.Parameter) -> torch.Tensor:
        """Return a tensor as the parameter's own optimiser holds it, on its device."""
        return whole.to(parameter.device)


class Accelerated(Engine):
    """The processes and devices that `accelerate launch` has set up, or one alone.

    Every process holds the whole model; gradients are summed once per optimiser step.

    Args:
        accelerator: Of the accelerate library.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.world, self.rank = accelerator.num_processes, accelerator.process_index

    def prepared(self, module: Any) -> Any:
        """Return the module on this process's device."""
        return module.to(self.accelerator.device)

    def loading_device(self) -> torch.device:
        """Return this process's device."""
        device: torch.device = self.accelerator.device
        return device

    def close(self) -> None:
        """Leave the other processes; nothing can be exchanged with them afterwards."""
        if self.world > 1:
            torch.distributed.destroy_process_group()

    def autocast(self) -> AbstractContextManager[None]:
        """Return a context with the accelerator's mixed precision, if it has one."""
        found: AbstractContextManager[None] = self.accelerator.autocast()
        return found

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum over all processes, in all of them."""
        if self.world == 1:
            return values
        summed = values.detach().clone().to(self.accelerator.device)
        torch.distributed.all_reduce(summed)
        return summed.to(values.device)

    def most(self, count: int) -> int:
        """Return the largest of the processes' counts, in all of them."""
        counts = torch.zeros(self.world, dtype=torch.int64)
        counts[self.rank] = count
        return int(self.total(counts).max())

    def wait(self) -> None:
        """Return when all processes have come here."""
        self.accelerator.wait_for_everyone()

    def synchronise(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Make every process hold the sum of all their gradients."""
        if self.world == 1:
            return
        for bucket in _buckets([p for p in parameters if p.requires_grad]):
            flat = torch.cat([_gradient(p).flatten() for p in bucket])
            torch.distributed.all_reduce(flat)
            for p, summed in zip(bucket, flat.split([p.numel() for p in bucket]), strict=True):
                p.grad = summed.view_as(p)


def _gradient(p: torch.nn.Parameter) -> torch.Tensor:
    return torch.zeros_like(p) if p.grad is None else p.grad


def _buckets(parameters: Sequence[torch.nn.Parameter]) -> Iterator[list[torch.nn.Parameter]]:
    """Yield runs of parameters of one type, of about `_BUCKET` numbers each."""
    bucket: list[torch.nn.Parameter] = []
    for p in parameters:
        full = sum(each.numel() for each in bucket) + p.numel() > _BUCKET
        if bucket and (full or bucket[0].dtype != p.dtype):
            yield bucket
            bucket = []
        bucket.append(p)
    if bucket:
        yield bucket
