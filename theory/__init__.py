"""The ledger: statements with executable hypotheses, and their proofs beside them."""

from . import equilibrium, gap, majority, plug_in, rewards, variational

ALL = (
    *variational.ALL,
    *equilibrium.ALL,
    *gap.ALL,
    *rewards.ALL,
    *plug_in.ALL,
    *majority.ALL,
)
"""Every statement of the ledger that has been written so far, in its order."""
