"""Which methods are other packages', and the distributions whose versions matter."""

from collections.abc import Mapping

PEERS: Mapping[str, tuple[str, ...]] = {
    "cvxpy": ("cvxpy", "clarabel"),
    "cvxpy_compiled_each_time": ("cvxpy", "clarabel"),
    "pygambit": ("pygambit",),
    "pygambit_lp": ("pygambit",),
    "open_spiel": ("open-spiel",),
    "open_spiel_lp": ("open-spiel",),
    "open_spiel_nash_averaging": ("open-spiel",),
    "quantecon": ("quantecon",),
    "nashpy": ("nashpy",),
    "scipy_slsqp": ("scipy",),
    "pymdptoolbox": ("pymdptoolbox",),
    "choix_ilsr": ("choix",),
    "choix_opt": ("choix",),
    "bare": ("numpy",),
    "transformers": ("transformers", "torch"),
    "trl outer step": ("trl", "transformers", "torch"),
    "trl-nash-md-default": ("trl", "transformers", "torch"),
    "trl-nash-md-cached": ("trl", "transformers", "torch"),
    "trl-online-dpo-cached": ("trl", "transformers", "torch"),
}
"""Methods that are not this library's, and the distributions that they are."""
