"""Plant faults in a copy of the checkout, one at a time, and see whether the tests object.

    python tests/mutations/run.py [KEY ...]

Exit code 0 only if every fault is caught.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.mutations.faults import FAULTS, Fault  # noqa: E402

_IGNORED = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "build", "results")
_QUICK = {
    "OPENBLAS_NUM_THREADS": "1",
    "HYPOTHESIS_PROFILE": "verdict",
    # What a fault does is to be seen by a test, not by its types.
    "NLHF_UNCHECKED": "1",
    # Plugins take longer to load than most of these tests to fail, and none of them is needed.
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
}


def objections(tests: Iterable[str], fault: Fault | None) -> tuple[str, ...]:
    """Return which of the tests fail, and why, in a copy with this fault, or with none.

    With a fault only the first that fails.

    Raises:
        LookupError: If the text to replace is not there exactly once.
        RuntimeError: If the run itself was not in order.
    """
    name = fault.key if fault else "no fault"
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        shutil.copytree(ROOT, copy, ignore=_IGNORED)
        (copy / "nlhf_theory").symlink_to("theory")
        if fault:
            target = copy / fault.file
            text = target.read_text()
            if text.count(fault.old) != 1:
                raise LookupError(f"{name}: {fault.old!r} is {text.count(fault.old)} times there")
            target.write_text(text.replace(fault.old, fault.new))
        stop = ["-x"] if fault else []
        run = subprocess.run(
            [sys.executable, "-m", "pytest", *stop, "-q", "-p", "no:cacheprovider", *tests],
            cwd=copy,
            env={**os.environ, **_QUICK, "PYTHONPATH": str(copy)},
            capture_output=True,
            text=True,
        )
    if run.returncode not in (0, 1):
        raise RuntimeError(f"{name}: pytest ended with {run.returncode}:\n{run.stdout[-2000:]}")
    lines = run.stdout.splitlines()
    failed = tuple(line for line in lines if line.startswith(("FAILED ", "ERROR ")))
    if bool(failed) != bool(run.returncode):
        raise RuntimeError(f"{name}: no summary of what failed:\n{run.stdout[-2000:]}")
    return failed


def main(keys: list[str]) -> int:
    """Run the faults of these keys, all of them for no keys."""
    unknown = set(keys) - {fault.key for fault in FAULTS}
    if unknown:
        print(f"unknown faults: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    chosen = [fault for fault in FAULTS if not keys or fault.key in keys]
    missed = 0
    for fault in chosen:
        caught = objections(fault.tests, fault)
        missed += not caught
        print(f"{'caught' if caught else 'MISSED':8}{fault.key:34}{fault.file}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} faults caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
