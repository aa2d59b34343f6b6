"""One size in this process: prints seconds of repeated calls and peak memory as JSON."""

import json
import sys

from benchmarks.cases import Scaling
from benchmarks.clock import peak_bytes, repeat
from benchmarks.scaling.axes import AXES


def main() -> None:
    """Prepare what the command line names, call it, print what it took."""
    case = Scaling(**json.loads(sys.argv[1]))
    call = AXES[case.axis][case.method](case.value)
    built = peak_bytes()
    found = repeat(call, case.repeats)
    memory = {"peak_memory_bytes": peak_bytes(), "peak_memory_bytes_after_building": built}
    print(json.dumps(found | memory))


if __name__ == "__main__":
    main()
