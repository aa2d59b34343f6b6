"""Games and policies written for other programs: Gambit, numpy, JSON."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from nlhf.data.text import quoted
from nlhf.errors import InvalidData


def write_nfg(
    path: str | Path,
    preference: ArrayLike,
    *,
    reference: ArrayLike,
    temperature: float,
    responses: Sequence[str] | None = None,
    title: str = "preference game",
) -> None:
    r"""Write one regularised preference game as a strategic game for Gambit.

    The row player's payoff is

    .. math:: A_{ij} = P_{ij} - 1/2 + \tau (\log \mu_i - \log \mu_j)

    and the column player's is -A. The quantal response equilibrium of that game at precision
    :math:`\lambda = 1/\tau` is the KL-regularised equilibrium with reference μ: the payoff of i
    against y is :math:`(P y)_i + \tau \log \mu_i` up to a constant, and its softmax at λ is
    proportional to :math:`\mu_i \exp((P y)_i / \tau)`. The shift depends on τ: one file per τ. With
    a uniform reference it vanishes, and so it does at τ = 0. Numbers are written so that reading
    them gives the same float64.

    Args:
        path: Where to write; an existing file is replaced.
        preference: P, shape ``(n, n)``.
        reference: μ, positive, shape ``(n,)``.
        temperature: τ, in win probability; at least 0.
        responses: Names of the strategies, by default their indices.
        title: Title of the game.

    Raises:
        InvalidData: A number is not finite, the reference is not positive, or a name has a
            backslash or a control character, which the format cannot express.
    """
    matrix, mu = np.asarray(preference, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if not (np.isfinite(mu) & (mu > 0)).all() or not (
        np.isfinite(temperature) and temperature >= 0
    ):
        raise InvalidData(
            f"a reference with smallest entry {mu.min():g}, temperature {temperature:g}",
            "give a positive reference and a finite temperature of at least 0",
        )
    names = list(map(str, range(len(mu)))) if responses is None else list(responses)
    if matrix.shape != (len(mu), len(mu)) or len(names) != len(mu):
        raise InvalidData(
            f"preference of shape {matrix.shape}, {len(mu)} reference probabilities, "
            f"{len(names)} names",
            "give one (n, n) matrix, n probabilities and n names; write one file per prompt",
        )
    shift = temperature * np.log(mu)
    payoff = matrix - 0.5 + (shift[:, None] - shift[None, :])
    if not np.isfinite(payoff).all():
        raise InvalidData("a preference that is not a finite number", "complete the matrix first")
    strategies = "{ " + " ".join(map(_label, names)) + " }"
    comment = (
        f"zero-sum; payoff P - 1/2 + tau (log mu_i - log mu_j), tau = {temperature!r}: the logit "
        "equilibrium at lambda = 1/tau is the KL-regularised equilibrium with reference mu"
    )
    head = f'NFG 1 R {_label(title)} {{ "row" "column" }}\n\n'
    head += f"{{ {strategies}\n{strategies} }}\n{_label(comment)}\n\n"
    # The first player's strategy runs fastest.
    body = "\n".join(f"{_number(a)} {_number(-a)}" for a in payoff.T.ravel().tolist())
    Path(path).write_text(head + body + "\n", encoding="utf-8")


def write_npz(
    path: str | Path,
    *,
    preference: Float[np.ndarray, "*context response response"],
    reference: Float[np.ndarray, "*context response"],
    policy: Float[np.ndarray, "*context response"],
    temperature: float,
) -> None:
    """Write a game and a policy as the arrays `preference, reference, policy, temperature`.

    Read them with `numpy.load(path)`. The values are those given, bit by bit.
    """
    with open(path, "wb") as file:
        np.savez_compressed(
            file,
            preference=preference,
            reference=reference,
            policy=policy,
            temperature=np.float64(temperature),
        )


def write_json(
    path: str | Path,
    *,
    preference: Float[np.ndarray, "*context response response"],
    reference: Float[np.ndarray, "*context response"],
    policy: Float[np.ndarray, "*context response"],
    temperature: float,
) -> None:
    """Write what `write_npz` writes as one JSON object of nested lists.

    Reading the numbers gives the same float64.

    Raises:
        InvalidData: A number is not finite; JSON has no way to write it.
    """
    arrays = {"preference": preference, "reference": reference, "policy": policy}
    content = {name: array.tolist() for name, array in arrays.items()}
    content["temperature"] = float(temperature)
    try:
        text = json.dumps(content, allow_nan=False)
    except ValueError as error:
        name = next((k for k, v in arrays.items() if not np.isfinite(v).all()), "temperature")
        raise InvalidData(
            f"{name} has an entry that is not a finite number", "complete it first, or write npz"
        ) from error
    Path(path).write_text(text + "\n", encoding="utf-8")


def _number(value: float) -> str:
    # Without exponents, which not every reader of the format accepts.
    return np.format_float_positional(value, unique=True, trim="0")


def _label(name: str) -> str:
    if "\\" in name or not name.isprintable():
        raise InvalidData(
            f"{quoted(name)} has a backslash or a control character, which .nfg cannot express",
            "give short names of printable characters as responses",
        )
    return '"' + name.replace('"', '\\"') + '"'
