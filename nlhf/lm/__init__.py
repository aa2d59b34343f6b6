"""Language models as players: the algorithms of `nlhf.algorithms` on transformers models."""

from importlib.util import find_spec

import lazy_loader

from nlhf.errors import MissingExtra

for _package in ("torch", "transformers", "accelerate", "peft"):
    if find_spec(_package) is None:
        raise MissingExtra.of(_package, "lm")

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
