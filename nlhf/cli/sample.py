"""`nlhf sample` and `nlhf chat`: what a trained policy says."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from nlhf.errors import InvalidData
from nlhf.streams import Stream


@dataclass(frozen=True)
class Sample:
    """Print samples of a policy.

    Exit codes: 0 when done; 2 on bad input.

    Example: nlhf sample runs/gpt2 --prompt "The film" --count 3
    """

    policy: tyro.conf.Positional[Path]
    """The folder of a run, finished or not, or of a model or adapter of transformers."""
    prompt: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """What to respond to; may be given several times."""
    prompts: Path | None = None
    """A file of prompts (.jsonl, .json, .parquet with a column prompt), after these."""
    count: int = 1
    """Responses to each."""
    limit: int | None = None
    """Most new tokens; as the run had it, or 128."""
    temperature: float | None = None
    """Of the policy; as the run had it, or 1."""
    seed: int = 0
    """Of the randomness."""
    json: bool = False
    """Print one JSON object per prompt."""

    def run(self) -> int:
        """Open, sample, print; return the exit code."""
        if self.count < 1 or not (self.prompt or self.prompts):
            raise InvalidData(
                f"{self.count} responses to {len(self.prompt)} prompts",
                "give --prompt or --prompts, and a --count of at least 1",
            )
        from nlhf.lm.loading.chat import Text, readable
        from nlhf.lm.loading.datasets import read_prompts
        from nlhf.lm.running.opening import quiet_libraries
        from nlhf.training.policies import Speaking, opened

        stream = seeded(self.seed, "sample")
        quiet_libraries()
        texts: list[Text] = list(self.prompt)
        if self.prompts is not None:
            texts += read_prompts(self.prompts).prompts
        policy = opened(self.policy, Speaking(self.limit, self.temperature))
        for text, answers in zip(texts, policy.answers(texts, self.count, stream), strict=True):
            if self.json:
                print(json.dumps({"prompt": readable(text), "responses": answers}))
                continue
            print(f"> {readable(text)}")
            for answer in answers:
                print(f"{answer}\n")
        return 0


@dataclass(frozen=True)
class Chat:
    """Talk with a policy: a line to it, its answer, and so on to the end of the input.

    With a chat template the lines are a conversation; without, everything said so far is one text
    that the policy goes on with.

    Exit codes: 0 when done; 2 on bad input.

    Example: nlhf chat runs/tulu
    """

    policy: tyro.conf.Positional[Path]
    """The folder of a run, finished or not, or of a model or adapter of transformers."""
    limit: int | None = None
    """Most new tokens of an answer; as the run had it, or 128."""
    temperature: float | None = None
    """Of the policy; as the run had it, or 1."""
    seed: int = 0
    """Of the randomness."""

    def run(self) -> int:
        """Read, answer, print; return the exit code."""
        from nlhf.lm.running.opening import quiet_libraries
        from nlhf.training.policies import Speaking, Talk, opened

        stream = seeded(self.seed, "chat")
        quiet_libraries()
        talk = Talk(opened(self.policy, Speaking(self.limit, self.temperature)))
        turn = 0
        while (line := _line()) is not None:
            if line.strip():
                print(talk.answer(line, stream.child(turn)), flush=True)
                turn += 1
        return 0


def seeded(seed: int, name: str) -> Stream:
    """Return the randomness of a command.

    Raises:
        InvalidData: The seed is negative.
    """
    if seed < 0:
        raise InvalidData(f"the seed is {seed}", "give a --seed of at least 0")
    return Stream(seed, (name,))


def _line() -> str | None:
    """Return the next line of the input, asked for on a terminal, or `None` at its end."""
    if sys.stdin.isatty():
        print("> ", end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    return line.rstrip("\n") if line else None
