"""Shapes in the ledger are checked at run time too."""

from jaxtyping import install_import_hook

install_import_hook("nlhf_theory", "tests.runtime_types.checked")
