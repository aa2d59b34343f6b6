"""Run a study in this process: ``python -m benchmarks.study MODULE SIZE FOLDER``."""

import importlib
import json
import sys
from pathlib import Path

from benchmarks.clock import peak_bytes, repeat
from benchmarks.sizes import Size


def main(arguments: list[str]) -> int:
    """Let a module record its tables into a folder; print what it took as JSON."""
    module, size, folder = arguments
    written = Path(folder)
    written.mkdir(parents=True, exist_ok=True)
    recorded = importlib.import_module(module)
    out, sys.stdout = sys.stdout, sys.stderr
    found = repeat(lambda: recorded.record(written, Size(size)), 1, warm=False)
    print(json.dumps(found | {"peak_memory_bytes": peak_bytes()}), file=out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
