"""Plant faults in a copy of the checkout, one at a time, and see whether the tests object.

    python tests/mutations/run.py [KEY ...]

Exit code 0 only if every fault is caught.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.mutations.faults import FAULTS, Fault  # noqa: E402

_IGNORED = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info", "results")


def object_to(tests: tuple[str, ...], fault: Fault | None) -> bool:
    """Return whether one of the tests fails in a copy with this fault, or with none.

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
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy), "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
    if run.returncode not in (0, 1):
        raise RuntimeError(f"{name}: pytest ended with {run.returncode}:\n{run.stdout[-2000:]}")
    return run.returncode != 0


def main(keys: list[str]) -> int:
    """Run the faults of these keys, all of them for no keys."""
    unknown = set(keys) - {fault.key for fault in FAULTS}
    if unknown:
        print(f"unknown faults: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    chosen = [fault for fault in FAULTS if not keys or fault.key in keys]
    missed = 0
    for fault in chosen:
        verdict = object_to(fault.tests, fault)
        missed += not verdict
        print(f"{'caught' if verdict else 'MISSED':8}{fault.key:34}{fault.file}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} faults caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
