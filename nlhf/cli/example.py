"""`nlhf example`: write a small file of votes to try the other commands on."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from nlhf.data.example import write_example


@dataclass(frozen=True)
class Example:
    """Write an example file of votes: three prompts, one of them with a majority cycle."""

    path: tyro.conf.Positional[Path]
    """Where to write it; an existing file is left alone."""

    def run(self) -> int:
        """Write the file and return 0."""
        write_example(self.path)
        print(f"wrote {self.path}; now try: nlhf solve {self.path} --temperature 0.05")
        return 0
