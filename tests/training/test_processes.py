"""Runs of several processes, and of processes that are killed: the same run in the end."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from nlhf.lm.running.metrics import read_metrics
from tests.training.toy import RUN, toy_folder

pytestmark = pytest.mark.slow

ALONE = [sys.executable]
STEPS = 10


def launcher(*options: str) -> list[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = ["--num_processes", "2", "--main_process_port", str(port), *options]
    return [sys.executable, "-m", "accelerate.commands.launch", *own]


def environment() -> dict[str, str]:
    return os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


def trained(run: Path, out: str, command: list[str], *options: str) -> Path:
    done = subprocess.run(
        [*command, "-m", "nlhf", "train", str(run), "--out", str(run.parent / out), *options],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr
    return run.parent / out


def furthest(first: Path, second: Path) -> float:
    ours, theirs = (load_file(each / "policy" / "model.safetensors") for each in (first, second))
    assert ours.keys() == theirs.keys()
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    text = RUN.replace("steps = 4\n", f"steps = {STEPS}\n")
    text = text.replace("micro_batch = 8", "micro_batch = 5")
    run = toy_folder(tmp_path_factory.mktemp("toy"), text)
    return run, trained(run, "alone", ALONE)


@pytest.mark.parametrize(
    "options", [["--multi_gpu"], ["--use_fsdp", "--fsdp_version", "2"]], ids=["copies", "shards"]
)
def test_two_processes_are_one(alone, options):
    run, one = alone
    two = trained(run, f"two{len(options)}", launcher(*options))
    assert furthest(one, two) < 1e-6
    ours, theirs = (read_metrics(folder / "metrics.jsonl") for folder in (one, two))
    assert len(ours) == len(theirs) == STEPS
    for a, b in zip(ours, theirs, strict=True):
        for name in ("loss", "kl_to_reference_nats", "payoff", "response_tokens"):
            assert a[name] == pytest.approx(b[name], abs=1e-6)
    start = load_file(run.parent / "model" / "model.safetensors")
    moved = load_file(two / "policy" / "model.safetensors")
    assert max(float((moved[n] - start[n]).abs().max()) for n in moved) > 1e-3  # a control


def test_a_run_of_sharded_processes_is_resumed_by_them_and_ended_by_one(alone):
    run, one = alone
    for steps in ("2", "4"):
        trained(run, "handed", launcher("--use_fsdp", "--fsdp_version", "2"), "--steps", steps)
    assert furthest(one, trained(run, "handed", ALONE, "--resume")) < 1e-6


def test_a_run_that_is_killed_at_random_moments_ends_with_the_same_bits(alone):
    run, one = alone
    chance = random.Random(5)
    out = run.parent / "killed"
    command = [*ALONE, "-m", "nlhf", "train", str(run), "--out", str(out)]
    for kill in range(4):
        wanted = 2 * kill
        process = subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL)
        while not any(out.glob(f"checkpoints/step-{wanted:08d}")) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.random() * 0.4)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (out / "policy").exists()
    trained(run, "killed", ALONE, "--resume")
    ours, theirs = (load_file(each / "policy" / "model.safetensors") for each in (one, out))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert [row["step"] for row in read_metrics(out / "metrics.jsonl")] == [*range(1, STEPS + 1)]
