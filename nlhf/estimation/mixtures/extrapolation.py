"""Extrapolation of a slowly converging sequence from its last steps."""

import numpy as np
from jaxtyping import Float

Vector = Float[np.ndarray, " entry"]
_MEMORY = 10


class Extrapolation:
    r"""Points that may be further along than M(x), for a sequence that goes from x to M(x).

    Two are proposed, and the caller says whether they were any good. The first is Anderson's: with
    residuals f = M(x) - x and the last differences ΔX, ΔF of x and f, it is
    :math:`x + f - (\Delta X + \Delta F) c` with c the least-squares solution of ΔF c = f: the fixed
    point, were M affine and the memory long enough (D. G. Anderson, Journal of the ACM 12, 1965;
    for EM with a guard on the objective, N. Henderson and R. Varadhan, JCGS 28, 2019). It leads to
    saddle points as well. The second leads away from them: x + t f, with t doubled as long as that
    succeeds (R. Salakhutdinov and S. Roweis, Adaptive overrelaxed bound optimization, ICML 2003).
    """

    def __init__(self, memory: int = _MEMORY) -> None:
        self._memory = memory
        self._points: list[Vector] = []
        self._residuals: list[Vector] = []
        self._length = 2.0

    def fixed_point(self, here: Vector, there: Vector) -> Vector | None:
        """Return Anderson's proposal from x and M(x), or None while there is nothing to go by."""
        residual = there - here
        self._points = [*self._points[-self._memory :], here]
        self._residuals = [*self._residuals[-self._memory :], residual]
        if len(self._points) < 2:
            return None
        moves = np.diff(np.stack(self._points), axis=0)
        changes = np.diff(np.stack(self._residuals), axis=0)
        scales = np.linalg.norm(changes, axis=1)
        if not (scales > 0).all():
            self.forget()
            return None
        c = np.linalg.lstsq((changes / scales[:, None]).T, residual, rcond=1e-10)[0] / scales
        found: Vector = there - c @ (moves + changes)
        return found

    def forget(self) -> None:
        """Drop all but the last point: the proposal was no good."""
        self._points, self._residuals = self._points[-1:], self._residuals[-1:]

    def longer(self, here: Vector, there: Vector) -> Vector:
        """Return x + t f."""
        return here + self._length * (there - here)

    def judge(self, success: bool) -> None:
        """Double t if the longer step was a success, or else start again from 2."""
        self._length = 2.0 * self._length if success else 2.0
