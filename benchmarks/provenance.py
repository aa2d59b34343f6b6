"""Where a measurement comes from: commit, versions, machine."""

import hashlib
import os
import platform
import subprocess
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_info

_PACKAGES = ("nlhf", "numpy", "scipy", "cvxpy", "clarabel", "pymdptoolbox")


@cache
def revision(root: Path) -> str:
    """Return the commit, followed by a hash of the sources where they differ from it.

    Two runs with the same answer measured the same code.
    """
    commit = _git(root, "rev-parse", "HEAD")
    if not _git(root, "status", "--porcelain", "--", "nlhf", "benchmarks/*.py"):
        return commit
    digest = hashlib.sha256()
    for path in sorted([*(root / "nlhf").rglob("*.py"), *(root / "benchmarks").glob("*.py")]):
        digest.update(path.read_bytes())
    return f"{commit}+{digest.hexdigest()[:12]}"


def provenance(root: Path) -> dict[str, Any]:
    """Return what a row says of its origin; `dirty` means that no commit holds the sources."""
    measured = revision(root)
    return {
        "revision": measured,
        "dirty": "+" in measured,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "blas_threads": 1,
        "blas": sorted(
            f"{library['internal_api']} {library['version']} {library.get('architecture', '')}"
            for library in threadpool_info()
            if library["user_api"] == "blas"
        ),
    }


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else "no git history"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if "model name" in line), "unknown")
