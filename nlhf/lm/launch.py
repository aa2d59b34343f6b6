"""Which engine a process has, by how it was launched."""

import os

import torch
from accelerate import Accelerator
from accelerate.utils import parse_flag_from_env

from nlhf.errors import InvalidProblem
from nlhf.lm.engine import Accelerated
from nlhf.lm.sharding import Sharded


def accelerated(
    *, mixed_precision: str | None = None, cpu: bool = False, sharded: bool = False
) -> Accelerated:
    """Return the engine of this process, as its launcher or the machine has it.

    On a machine without accelerators several processes are those of
    ``accelerate launch --multi_gpu --num_processes 2`` or ``torchrun --nproc_per_node 2``: with
    ``--cpu``, accelerate starts one process alone, unless by MPI.

    Args:
        mixed_precision: ``no``, or ``bf16`` for forward passes in bfloat16 of float32 weights;
            what the launcher says by default.
        cpu: Run on the CPU though there are accelerators.
        sharded: Shard weights, gradients and the optimiser over the processes (FSDP), as
            ``accelerate launch --use_fsdp`` also says.

    Raises:
        InvalidProblem: If the precision is not known, the process has begun with other settings,
            or there is nothing to shard over.
    """
    cpu = cpu or not torch.accelerator.is_available()
    said = mixed_precision or os.environ.get("ACCELERATE_MIXED_PRECISION", "no")
    if said not in ("no", "bf16"):
        raise InvalidProblem(
            f"mixed_precision is {said!r}",
            "write 'no', or 'bf16' where bfloat16 is fast; float16 needs scaled losses, which "
            "are not offered",
        )
    try:
        accelerator = Accelerator(mixed_precision=said, cpu=cpu)
    except ValueError as error:  # a process has one state of accelerate, which cannot be changed
        raise InvalidProblem(
            f"mixed precision {said} on {'the CPU' if cpu else 'the accelerator'}, in a process "
            "that has begun with others",
            "do this in a process of its own, or as it has begun; CUDA_VISIBLE_DEVICES= hides the "
            "accelerators from a command",
        ) from error
    if not sharded and not parse_flag_from_env("ACCELERATE_USE_FSDP"):
        return Accelerated(accelerator)
    if accelerator.num_processes == 1:
        raise InvalidProblem(
            "the weights are to be sharded over one process",
            "start several, by accelerate launch --num_processes, or leave sharding out",
        )
    return Sharded(accelerator)
