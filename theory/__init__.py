"""The ledger: statements with executable hypotheses, and their proofs beside them."""

from . import (
    aliases,
    averages,
    equilibrium,
    gap,
    linear_rates,
    losses,
    majority,
    nash_md,
    plug_in,
    proximal_point,
    rewards,
    tokens,
    variational,
)

ALL = (
    *variational.ALL,
    *equilibrium.ALL,
    *gap.ALL,
    *rewards.ALL,
    *plug_in.ALL,
    *majority.ALL,
    *nash_md.ALL,
    *linear_rates.ALL,
    *aliases.ALL,
    *averages.ALL,
    *proximal_point.ALL,
    *losses.ALL,
    *tokens.ALL,
)
"""Every statement of the ledger that has been written so far, in its order."""
