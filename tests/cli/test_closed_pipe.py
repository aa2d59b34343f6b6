"""A reader that goes away ends a command as it ends any other one of a shell."""

import subprocess
import sys
from pathlib import Path

import pytest

from nlhf.data import write_example

NLHF = Path(sys.executable).with_name("nlhf")


@pytest.mark.parametrize(
    "options", [["solve"], ["solve", "--json"], ["compare", "--only", "extragradient"]]
)
def test_the_exit_code_is_that_of_a_closed_pipe(options, tmp_path):
    votes = tmp_path / "votes.csv"
    write_example(votes)
    command, *rest = options
    with subprocess.Popen(
        [NLHF, command, votes, *rest], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait(timeout=60) == 141
    assert b"Traceback" not in errors
