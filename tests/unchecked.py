"""What calls raise without the run-time type checks of the test run, as a user meets them."""

import json
import subprocess
import sys
from collections.abc import Iterable

_SCRIPT = """
import json, sys
import numpy as np
import nlhf
exec(sys.argv[1])
found = {}
for call in json.loads(sys.argv[2]):
    try:
        eval(call)
        found[call] = ["nothing", ""]
    except Exception as error:
        found[call] = [type(error).__name__, str(error)]
print(json.dumps(found))
"""


def raised(setting: str, calls: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return the class and the message of what every call raises, in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-c", _SCRIPT, setting, json.dumps(list(calls))],
        check=True,
        capture_output=True,
        text=True,
    )
    return {call: (kind, message) for call, (kind, message) in json.loads(ran.stdout).items()}
