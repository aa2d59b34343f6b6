"""Published names: several are one map here, and every one is the class that does it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from nlhf.algorithms.average import Average
from nlhf.algorithms.extragradient import Extragradient
from nlhf.algorithms.mirror_descent import MirrorDescent
from nlhf.algorithms.nash_ema import NashEMA
from nlhf.algorithms.nash_md import NashMD
from nlhf.algorithms.optimistic import OptimisticMirrorDescent
from nlhf.algorithms.proximal_point import ProximalPoint
from nlhf.protocols import Algorithm

OMD = MMD = OnlineMirrorDescent = MagneticMirrorDescent = INPO = SPPO = MirrorDescent
EGPO = NashMirrorProx = MirrorProx = Extragradient
ONPO = OMWU = Popov = OptimisticMirrorDescent
COMAL = MPO = ProximalPoint

ALGORITHMS: Mapping[str, type[Algorithm[Any]]] = MappingProxyType(
    {
        "mirror-descent": MirrorDescent,
        "extragradient": Extragradient,
        "optimistic": OptimisticMirrorDescent,
        "nash-md": NashMD,
        "nash-ema": NashEMA,
        "proximal-point": ProximalPoint,
    }
)
"""Command-line names of the methods that need no argument."""

__all__ = [
    "ALGORITHMS",
    "COMAL",
    "EGPO",
    "INPO",
    "MMD",
    "MPO",
    "OMD",
    "OMWU",
    "ONPO",
    "SPPO",
    "Average",
    "Extragradient",
    "MagneticMirrorDescent",
    "MirrorDescent",
    "MirrorProx",
    "NashEMA",
    "NashMD",
    "NashMirrorProx",
    "OnlineMirrorDescent",
    "OptimisticMirrorDescent",
    "Popov",
    "ProximalPoint",
]
