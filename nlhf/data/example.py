"""A small file of votes that shows what preferences can do, for first steps and documents."""

import csv
import io
from pathlib import Path

import numpy as np

from nlhf.errors import NotAllowed

ANNOTATORS = 20
_SEED = 22
_TIES = 0.1

# P[i, j] for i < j, in the order of the responses, of a vote that is not a tie.
_PROMPTS: tuple[tuple[str, dict[tuple[str, str], float]], ...] = (
    (
        "explain-the-tides",  # `analogy` beats every other response: a Condorcet winner
        {
            ("analogy", "diagram"): 0.75,
            ("analogy", "formula"): 0.80,
            ("analogy", "anecdote"): 0.90,
            ("diagram", "formula"): 0.60,
            ("diagram", "anecdote"): 0.75,
            ("formula", "anecdote"): 0.70,
        },
    ),
    (
        "wedding-toast",  # short beats witty beats heartfelt beats short; all beat `formal`
        {
            ("short", "witty"): 0.80,
            ("short", "heartfelt"): 0.20,
            ("short", "formal"): 0.85,
            ("witty", "heartfelt"): 0.75,
            ("witty", "formal"): 0.80,
            ("heartfelt", "formal"): 0.90,
        },
    ),
    (
        "name-for-a-cat",  # nobody minds much
        {("Miso", "Pepper"): 0.52, ("Miso", "Biscuit"): 0.50, ("Pepper", "Biscuit"): 0.51},
    ),
)


def example_votes() -> str:
    """Return the text of the example: 300 votes of 20 annotators on three prompts, as CSV.

    Every annotator votes once on every pair; a tenth of the votes are ties. The first prompt has a
    Condorcet winner, the second a majority cycle, the third is nearly indifferent. It is the same
    text on every machine.
    """
    # Only `random` is drawn, whose stream numpy keeps from version to version.
    generator = np.random.default_rng(_SEED)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["prompt_id", "response_a", "response_b", "annotator", "label"])
    for prompt, preference in _PROMPTS:
        for (first, second), probability in preference.items():
            for annotator in range(ANNOTATORS):
                swap, tie, win = generator.random(3)
                winner = (
                    "tie" if tie < _TIES else "a" if (win < probability) != (swap < 0.5) else "b"
                )
                shown = (second, first) if swap < 0.5 else (first, second)
                writer.writerow([prompt, *shown, f"annotator-{annotator + 1:02}", winner])
    return text.getvalue()


def write_example(path: str | Path) -> None:
    """Write the example votes to a file that does not exist yet, or that already holds them.

    Raises:
        NotAllowed: Something else is at that path, or nothing can be written there; nothing is
            replaced.
    """
    content = example_votes().encode()
    try:
        with open(path, "xb") as file:
            file.write(content)
    except FileExistsError as error:
        if not Path(path).is_file() or Path(path).read_bytes() != content:
            raise NotAllowed(
                f"{path} exists and is not the example; it is left as it is",
                "choose another name, or move the file away",
            ) from error
    except OSError as error:
        raise NotAllowed(
            f"{path}: cannot be written ({error.strerror})", "choose another path"
        ) from error
