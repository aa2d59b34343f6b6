"""The methods that run in every setting."""

from nlhf.algorithms.published import (
    Average,
    Extragradient,
    MirrorDescent,
    NashEMA,
    NashMD,
    OptimisticMirrorDescent,
    ProximalPoint,
)

LINEAR = (MirrorDescent(), Extragradient(), OptimisticMirrorDescent())
"""Methods with a linear rate."""

METHODS = (
    *LINEAR,
    NashMD(),
    NashMD(textbook_step=0.2),
    NashEMA(),
    ProximalPoint(inner_steps=4),
    ProximalPoint(MirrorDescent(), strength=0.2, inner_steps=3),
    Average(MirrorDescent()),
    Average(OptimisticMirrorDescent()),
)
