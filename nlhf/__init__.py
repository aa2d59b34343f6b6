"""Nash learning from human feedback: exact solvers, certificates and theorems.

The public names are listed in `__init__.pyi` and loaded on first use, so that `import nlhf` costs
next to nothing.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
