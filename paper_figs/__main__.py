"""Draw figures: ``python -m paper_figs [LABEL ...] [--out FOLDER] [--update]``."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from paper_figs import drawing
from paper_figs.inputs import StaleInput
from paper_figs.style import OUT


def main(arguments: Sequence[str]) -> int:
    """Draw all figures, or those named; exit code 2 if an input is stale."""
    parser = argparse.ArgumentParser(
        prog="python -m paper_figs", description="Draw figures from results that are checked in."
    )
    parser.add_argument("label", nargs="*", help=f"default: all of {', '.join(drawing.labels())}")
    parser.add_argument("--out", type=Path, default=OUT, help="folder of the drawings")
    parser.add_argument(
        "--update",
        action="store_true",
        help="accept changed inputs into the manifest first, and draw what reads them too",
    )
    asked = parser.parse_args(arguments)
    unknown = sorted({*asked.label} - {*drawing.labels()})
    if unknown:
        parser.error(f"no figure {', '.join(unknown)}; there are {', '.join(drawing.labels())}")
    chosen = set(asked.label or drawing.labels())
    try:
        if asked.update:
            changed = drawing.changes()
            drawing.write_manifest()
            print(*changed, f"{len(changed)} changes accepted into the manifest", sep="\n")
            chosen |= {change.figure for change in changed} & {*drawing.labels()}
        for number, label in enumerate(sorted(chosen), start=1):
            print(f"{number}/{len(chosen)} {label}", flush=True)
            drawing.draw(label, asked.out)
    except StaleInput as error:
        print(f"error: {error.found}\n  Fix: {error.fix}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
