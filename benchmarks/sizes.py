"""How large a study or a suite is run."""

from enum import StrEnum


class Size(StrEnum):
    """Smoke: everything runs, in seconds, and the numbers mean nothing. Full: what is claimed."""

    SMOKE = "smoke"
    FULL = "full"

    def pick(self, smoke: int, full: int) -> int:
        """Return the number for this size."""
        return smoke if self is Size.SMOKE else full
