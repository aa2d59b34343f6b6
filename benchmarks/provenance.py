"""Where a measurement comes from: commit, versions, machine."""

import hashlib
import os
import platform
import subprocess
import time
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

from threadpoolctl import threadpool_info

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

_PACKAGES = ("nlhf", "numpy", "scipy", "cvxpy", "clarabel", "pymdptoolbox", "choix", "gymnasium")
LANGUAGE_PACKAGES = ("torch", "transformers", "accelerate", "peft")
_SOURCES = ("nlhf", "benchmarks")


@cache
def revision(root: Path) -> str:
    """Return the commit, followed by a hash of the sources where they differ from it.

    Two runs with the same answer measured the same code.
    """
    commit = _git(root, "rev-parse", "HEAD")
    # An asterisk of git's matches slashes too: sources at any depth count.
    if not _git(root, "status", "--porcelain", "--", *(f"{name}/*.py" for name in _SOURCES)):
        return commit
    digest = hashlib.sha256()
    for name in _SOURCES:
        for path in sorted((root / name).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\n".encode())
            digest.update(path.read_bytes())
    return f"{commit}+{digest.hexdigest()[:12]}"


def provenance(root: Path, *packages: str) -> dict[str, Any]:
    """Return what a row says of its origin; `dirty` means that no commit holds the sources.

    Args:
        root: Of the checkout.
        packages: Distributions whose versions matter besides those of the solvers and their peers.
    """
    measured = revision(root)
    return {
        "revision": measured,
        "dirty": "+" in measured,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in (*_PACKAGES, *packages)},
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


def write_origin(file: TextIO, root: Path, *packages: str) -> None:
    """Write the origin as comment lines, before a table."""
    origin = provenance(root, *packages)
    for name in ("revision", "time", "python", "versions", "cpu"):
        file.write(f"# {name}: {origin[name]}\n")


def commit_of(root: Path, name: str) -> str:
    """Return the commit that git knows by a name, or nothing."""
    found = _git(root, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    return "" if found == "no git history" else found


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
