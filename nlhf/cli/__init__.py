"""The `nlhf` command: one frozen dataclass per subcommand, thin over the public functions."""

import sys
import warnings
from collections.abc import Sequence
from typing import Annotated

import tyro

from nlhf.cli.bench import Bench
from nlhf.cli.example import Example
from nlhf.cli.solve import Solve
from nlhf.cli.verify import Verify
from nlhf.errors import NlhfError, NlhfWarning


def _brief(command: type) -> str:
    """Return the first line of a command's description."""
    return (command.__doc__ or "").splitlines()[0]


Command = (
    Annotated[Solve, tyro.conf.subcommand("solve", description=_brief(Solve))]
    | Annotated[Verify, tyro.conf.subcommand("verify", description=_brief(Verify))]
    | Annotated[Example, tyro.conf.subcommand("example", description=_brief(Example))]
    | Annotated[Bench, tyro.conf.subcommand("bench", description=_brief(Bench))]
)

_DESCRIPTION = """Exact, certified equilibria of human preferences.

Start with:  nlhf example votes.csv && nlhf solve votes.csv --temperature 0.05"""

EXIT_ERROR = 2
"""Bad input or a failed solver; the message says what was found and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code.

    Errors of ours become one message on standard error and exit code 2; warnings of ours are
    printed there too, one line each.
    """
    command = tyro.cli(
        Command,
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
            print(f"error: {error}", file=sys.stderr)
            code = EXIT_ERROR
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            code = 130
    for warning in caught:
        print(f"warning: {warning.message}", file=sys.stderr)
    return code
