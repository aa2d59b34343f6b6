"""The reference: a byte-pair tokenizer and a small GPT-2, trained from scratch and resumable."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.nn import functional
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerBase

import nlhf
from benchmarks.language.movie_reviews.plan import Plan
from benchmarks.language.movie_reviews.sentences import pieces
from nlhf.lm.loading.tokenizers import load_tokenizer, train_tokenizer

IGNORED = -100
SAVED_EVERY = 200


def tokenizer(texts: Sequence[str], plan: Plan, out: Path) -> PreTrainedTokenizerBase:
    """Train the byte-level tokenizer on the texts, or load the one that this run has trained."""
    folder = out / "tokenizer"
    if (folder / "tokenizer.json").is_file():
        return load_tokenizer(folder)
    found = train_tokenizer([f" {text}" for text in texts], plan.vocabulary, context=plan.context)
    found.save_pretrained(folder)
    return found


def encode(tokens: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Return the tokens of texts, each read as if it followed a blank."""
    found: list[list[int]] = tokens([f" {text}" for text in texts])["input_ids"]
    return found


def sequences(texts: Sequence[str], tokens: PreTrainedTokenizerBase, plan: Plan) -> list[list[int]]:
    """Return the token sequences of all pieces; those that end at a clause have the end token."""
    cut = []
    for text in texts:
        words = text.split()
        costs = [len(ids) for ids in encode(tokens, words)]
        cut += pieces(words, costs, plan.piece_limit)
    encoded = encode(tokens, [" ".join(piece) for piece, _ in cut])
    end = [tokens.eos_token_id]
    found = [ids + end if closed else ids for ids, (_, closed) in zip(encoded, cut, strict=True)]
    return [ids for ids in found if len(ids) > 1]


def network(plan: Plan) -> GPT2LMHeadModel:
    """Return the untrained model; its initial weights are a function of the plan."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.split_seed)
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=plan.vocabulary,
                n_positions=plan.context,
                n_embd=plan.width,
                n_layer=plan.layers,
                n_head=plan.heads,
                resid_pdrop=plan.dropout,
                embd_pdrop=plan.dropout,
                attn_pdrop=plan.dropout,
                bos_token_id=0,
                eos_token_id=0,
                pad_token_id=0,
            )
        )


def loss_of(model: GPT2LMHeadModel, batch: Sequence[Sequence[int]]) -> torch.Tensor:
    """Return the mean of -log p per token, in nats, over the tokens after the first."""
    longest = max(len(ids) for ids in batch)
    tokens = torch.zeros(len(batch), longest, dtype=torch.long)
    targets = torch.full((len(batch), longest), IGNORED)
    for row, ids in enumerate(batch):
        tokens[row, : len(ids)] = targets[row, : len(ids)] = torch.tensor(ids)
    # Padding comes after every token that counts, so causal attention never sees it.
    logits = model(input_ids=tokens).logits[:, :-1]
    return functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), targets[:, 1:].reshape(-1), ignore_index=IGNORED
    )


def batches(lengths: Sequence[int], plan: Plan, epoch: int) -> list[list[int]]:
    """Return one epoch's batches, of pieces of similar length and in random order."""
    random = nlhf.Stream(plan.split_seed).child("pretraining", epoch).generator()
    noisy = [length + random.uniform(0, 2) for length in lengths]
    order = sorted(range(len(lengths)), key=noisy.__getitem__)
    size = plan.pretraining_batch
    found = [order[k : k + size] for k in range(0, len(order), size)]
    random.shuffle(found)
    return found


def pretrain(
    rows: Sequence[Sequence[int]], plan: Plan, out: Path, note: Callable[[str], None]
) -> GPT2LMHeadModel:
    """Train the model by AdamW with a cosine schedule, or finish or load what the run has.

    The state is saved every 200 steps; an interrupted run goes on from there to the same weights,
    except for dropout's own randomness.
    """
    final = out / "reference"
    if (final / "config.json").is_file():
        found: GPT2LMHeadModel = GPT2LMHeadModel.from_pretrained(final, local_files_only=True)
        return found
    model = network(plan)
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=plan.pretraining_rate, betas=(0.9, 0.99), weight_decay=0.05
    )
    lengths = [len(ids) for ids in rows]
    order = [batch for epoch in range(plan.epochs) for batch in batches(lengths, plan, epoch)]
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, plan.pretraining_rate, total_steps=len(order), pct_start=0.05
    )
    partial = out / "pretraining.pt"
    done, seconds = 0, 0.0
    if partial.is_file():
        state = torch.load(partial, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        done, seconds = state["done"], state["seconds"]
    torch.manual_seed(plan.split_seed + done)  # dropout
    model.train()
    since = time.process_time()
    for step in range(done, len(order)):
        loss = loss_of(model, [rows[i] for i in order[step]])
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if (step + 1) % SAVED_EVERY == 0:
            spent = seconds + time.process_time() - since
            note(f"pretraining {step + 1}/{len(order)}: {loss.item():.2f} nats, {spent:.0f} s")
            _save(
                {
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "schedule": schedule.state_dict(),
                    "done": step + 1,
                    "seconds": spent,
                },
                partial,
            )
    model.eval()
    model.save_pretrained(final)
    partial.unlink(missing_ok=True)
    return model


def _save(state: dict[str, object], path: Path) -> None:
    fresh = path.with_suffix(".new")
    torch.save(state, fresh)
    fresh.replace(path)
