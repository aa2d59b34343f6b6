"""The `nlhf` command: one frozen dataclass per subcommand, thin over the public functions."""

import io
import os
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import version
from typing import Annotated, Any, Union

import tyro

from nlhf.cli.align import Align
from nlhf.cli.bench import Bench
from nlhf.cli.compare import Compare
from nlhf.cli.evaluate import Evaluate
from nlhf.cli.example import Example
from nlhf.cli.figure import Figure
from nlhf.cli.learn import Learn
from nlhf.cli.sample import Chat, Sample
from nlhf.cli.solve import Solve
from nlhf.cli.train import Train
from nlhf.cli.verify import Verify
from nlhf.errors import NlhfError, NlhfWarning

_COMMANDS = {
    "solve": Solve,
    "compare": Compare,
    "align": Align,
    "learn": Learn,
    "train": Train,
    "sample": Sample,
    "chat": Chat,
    "evaluate": Evaluate,
    "verify": Verify,
    "example": Example,
    "bench": Bench,
    "figure": Figure,
}

_DESCRIPTION = """Exact, certified equilibria of human preferences.

Start with:  nlhf example votes.csv && nlhf solve votes.csv --temperature 0.05

nlhf COMMAND --help explains a command; nlhf --version prints the version."""

EXIT_ERROR = 2
"""Bad input or a failed solver; the message says what was found and what to do."""

EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""What shells report for a command that SIGPIPE ended: the reader of our output went away."""

_OPTIONS = (
    ("a step_size of", "a --step-size of"),
    ("None for the largest", "no --step-size for the largest"),
    ("unproven=True", "--unproven"),
    ("delta is", "--delta is"),
    ("rounds is", "--rounds is"),
    ("queries is", "--queries is"),
)
"""How errors call arguments of functions, and what these are called here."""

_KEYS = (
    ("None for the largest", "no step_size for the largest"),
    ("unproven=True", "unproven = true"),
)
"""The same for `nlhf train`, where they are keys of a file."""

_WARNINGS_SHOWN = 5
"""Of each category."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code.

    Errors of ours become one message on standard error and exit code 2; so does output that
    cannot be written. Warnings of ours are printed there too, the first five of each category.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks "π" gets "?"
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()
        return EXIT_BROKEN_PIPE
    except OSError as error:
        _discard_output()
        print(
            f"error: the output cannot be written: {error.strerror or error}\n"
            "  Fix: write it to where there is space and permission",
            file=sys.stderr,
        )
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return code


def _run(arguments: Sequence[str]) -> int:
    if list(arguments) == ["--version"]:
        print(f"nlhf {version('nlhf')}")
        return 0
    command: Any = tyro.cli(
        _commands(in_full=bool(arguments) and arguments[0] in _COMMANDS),
        prog="nlhf",
        description=_DESCRIPTION,
        args=arguments,
        config=(tyro.conf.FlagCreatePairsOff, tyro.conf.EnumChoicesFromValues),
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", NlhfWarning)
        try:
            code: int = command.run()
        except NlhfError as error:
            names = _KEYS if isinstance(command, Train) else _OPTIONS
            print(f"error: {_renamed(str(error), names)}", file=sys.stderr)
            code = EXIT_ERROR
    _print_warnings(caught)
    return code


def _commands(*, in_full: bool) -> Any:
    """Return the union of the commands.

    tyro prints one description both in the list of commands and in the help of the command: the
    list needs the first line only, the help the whole docstring.
    """
    described = [
        Annotated[
            command,
            tyro.conf.subcommand(
                name,
                description=None if in_full else (command.__doc__ or "").splitlines()[0],
            ),
        ]
        for name, command in _COMMANDS.items()
    ]
    return Union[tuple(described)]  # noqa: UP007  the members are made at run time


def _renamed(message: str, names: Sequence[tuple[str, str]]) -> str:
    """Return a message with arguments of functions called what they are for its reader."""
    for argument, name in names:
        message = message.replace(argument, name)
    return message


def _print_warnings(caught: Sequence[warnings.WarningMessage]) -> None:
    seen: Counter[type[Warning]] = Counter()
    for warning in caught:
        seen[warning.category] += 1
        if seen[warning.category] <= _WARNINGS_SHOWN:
            print(f"warning: {warning.message}", file=sys.stderr)
    for category, count in seen.items():
        if count > _WARNINGS_SHOWN:
            more = count - _WARNINGS_SHOWN
            print(f"warning: and {more} more like these ({category.__name__})", file=sys.stderr)


def _discard_output() -> None:
    """Send what is left in the buffer nowhere, so that the interpreter's last flush succeeds."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
