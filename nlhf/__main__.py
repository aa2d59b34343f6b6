"""`python -m nlhf`, which is what `accelerate launch -m nlhf` starts in every process."""

import sys

from nlhf.cli import main

if __name__ == "__main__":
    sys.exit(main())
