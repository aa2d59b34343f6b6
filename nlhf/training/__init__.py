"""Training runs of language models: from a configuration file to a trained policy.

Above `nlhf.algorithms` and `nlhf.lm`, which do not know each other. Torch is not imported before a
run is built.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
