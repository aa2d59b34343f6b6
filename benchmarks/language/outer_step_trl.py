"""One side of the outer-step benchmark: TRL's trainers. Runs in the benchmark's environment."""

import json
import os
import sys
import tempfile
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, TrainerCallback

from benchmarks.clock import peak_bytes
from benchmarks.language.outer_step_setting import (
    KL_STRENGTH,
    LEARNING_RATE,
    PROMPTS,
    SHAPES,
    TEMPERATURE,
    Clock,
    language_model,
    prompts,
    reward_model,
)


def tokenizer_of(name: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer whose words are the numbers of its tokens."""
    words = {f"t{i}": i for i in range(SHAPES[name].vocabulary)}
    inner = Tokenizer(models.WordLevel(words, unk_token="t2"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="t0", pad_token="t1", unk_token="t2"
    )


class Timing(TrainerCallback):
    """Tells the clock when steps begin and end."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start."""
        self._clock.start()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Stop."""
        self._clock.stop()


def trainer_of(method: str, name: str, steps: int, tokens: int, clock: Clock, folder: str) -> Any:
    """Return the trainer of a method: its defaults, but float32 and, if asked, the cache on."""
    from trl.experimental.nash_md import NashMDConfig, NashMDTrainer
    from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

    nash = method.startswith("nash-md")
    given = {
        "output_dir": folder,
        "max_steps": steps,
        "per_device_train_batch_size": PROMPTS,
        "max_new_tokens": tokens,
        "temperature": TEMPERATURE,
        "learning_rate": LEARNING_RATE,
        "beta": [KL_STRENGTH],
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    if method.endswith("cached"):
        given["gradient_checkpointing"] = False
    tokenizer = tokenizer_of(name)
    texts = [" ".join(f"t{i}" for i in row) for row in prompts(name)]
    return (NashMDTrainer if nash else OnlineDPOTrainer)(
        model=language_model(name),
        reward_funcs=reward_model(name),
        args=(NashMDConfig if nash else OnlineDPOConfig)(**given),
        train_dataset=Dataset.from_dict({"prompt": texts}),
        processing_class=tokenizer,
        callbacks=[Timing(clock)],
        **({} if nash else {"reward_processing_classes": tokenizer}),
    )


def main() -> None:
    """Take the steps that the command line asks for; print what they cost as JSON."""
    method, name = sys.argv[1:3]
    steps, threads, tokens = (int(number) for number in sys.argv[3:6])
    torch.set_num_threads(threads)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = trainer_of(method, name, steps, tokens, clock, folder)
        imported = peak_bytes()
        out, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115
        trainer.train()
        sys.stdout = out
    print(
        json.dumps(
            {
                "wall_seconds": clock.wall,
                "processor_seconds": clock.processor,
                "peak_bytes": peak_bytes(),
                "peak_bytes_before_steps": imported,
                "loss": float(trainer.state.log_history[-1]["train_loss"]),
            }
        )
    )


if __name__ == "__main__":
    main()
