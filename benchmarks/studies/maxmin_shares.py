r"""Both groups' win rates under the single reward and under MaxMin, over the minority's share.

Written down before the first run, and not changed after. The 200 pairs of tastes of
`benchmarks.studies.headline` with its policies and its measure, at minority shares of 0.02, 0.05,
0.1, 0.15, ... 0.5 instead of its four. ``maxmin_shares.csv`` has means and quartiles over the pairs
of each band of correlation, and over all of them; at equal shares neither group is a minority, and
the second one is called so all the same. MaxMin knows no shares: its rows are the same at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.sizes import Size
from benchmarks.studies.headline import BANDS, PAIRS, Outcome, outcomes
from benchmarks.tables import write_table

SHARES = (0.02, *(k / 20 for k in range(1, 11)))
POLICIES = ("single", "maxmin")
GROUPS = ("majority", "minority")


@dataclass(frozen=True, slots=True)
class Rate:
    """Win rates against the reference over the pairs of a band.

    Attributes:
        band: The correlations of both groups' rewards; ``all`` of them.
        share: Of the minority.
        policy: ``single`` or ``maxmin``.
        group: Whose win rate.
        pairs: How many pairs of tastes.
        mean: Over them.
        lower_quartile: Likewise.
        upper_quartile: Likewise.
    """

    band: str
    share: float
    policy: str
    group: str
    pairs: int
    mean: float
    lower_quartile: float
    upper_quartile: float


def rates(found: Sequence[Outcome]) -> list[Rate]:
    """Return means and quartiles by band, share, policy and group."""
    bands = {"all": list(found)}
    for number, (low, high) in enumerate(BANDS):
        bands[f"{low:g} to {high:g}"] = [one for one in found if one.band == number]
    table = []
    for band, some in bands.items():
        for share in dict.fromkeys(one.minority_share for one in some):
            here = [one for one in some if one.minority_share == share]
            for policy in POLICIES:
                for group in GROUPS:
                    values = [getattr(one, f"{policy}_{group}") for one in here]
                    ends = np.quantile(values, (0.25, 0.75))
                    mean = float(np.mean(values))
                    table.append(
                        Rate(band, share, policy, group, len(here), mean, *map(float, ends))
                    )
    return table


def record(folder: Path, size: Size) -> None:
    """Write ``maxmin_shares.csv``."""
    found = [one for k in range(size.pick(4, PAIRS)) for one in outcomes(k, minorities=SHARES)]
    write_table(folder / "maxmin_shares.csv", rates(found))
