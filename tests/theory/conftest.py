"""Shapes in the ledger are checked at run time too."""

import os

from jaxtyping import install_import_hook

if "NLHF_UNCHECKED" not in os.environ:
    install_import_hook("nlhf_theory", "tests.runtime_types.checked")
