"""Named streams for libraries that draw from torch's global generator."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from nlhf.streams import Stream


@contextmanager
def seeded(stream: Stream) -> Iterator[None]:
    """Seed torch's generator on the CPU from a stream, and put it back afterwards.

    Initial weights are drawn on the CPU, so that they are the same on every device.
    """
    generator = torch.default_generator
    state = generator.get_state()
    generator.manual_seed(int(stream.generator().integers(2**63)))
    try:
        yield
    finally:
        generator.set_state(state)
