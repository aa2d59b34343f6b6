"""What a seeded fault is."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One seeded fault.

    Attributes:
        key: A short name.
        file: The file, relative to the checkout.
        old: The text to replace; it stands there exactly once.
        new: What replaces it.
        tests: The tests that run; one of them must fail.
    """

    key: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
