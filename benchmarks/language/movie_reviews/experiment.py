"""The experiment in stages, each of which is kept on disk and not repeated when resumed."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import nlhf
from benchmarks.language.movie_reviews import consensus, methods, pretraining
from benchmarks.language.movie_reviews.evaluation import (
    Opponent,
    Outcome,
    measured,
    samples,
)
from benchmarks.language.movie_reviews.plan import Plan
from benchmarks.language.movie_reviews.raters import majority, qualities, vote
from benchmarks.language.movie_reviews.rewards import (
    Features,
    LinearReward,
    PopulationPreference,
    fit_rewards,
)
from benchmarks.language.movie_reviews.sentences import Labelled, Split, read, split
from benchmarks.language.movie_reviews.sentiment import (
    Grams,
    Sentiment,
    character_grams,
    fit_sentiment,
    word_grams,
)
from benchmarks.tables import write_whole
from nlhf.data.votes import Votes
from nlhf.estimation.mixtures.fitting import RaterMixture
from nlhf.lm.model import LanguageModel
from nlhf.lm.responses import Prompts, Responses
from nlhf.lm.strategies import Checkpoint
from nlhf.streams import Stream

Note = methods.Note


@dataclass(eq=False)
class Corpus:
    """What all seeds share: sentences, scorer, judge, tokenizer and reference.

    Args:
        data: Folder of the sentences.
        out: Folder of the run.
        plan: Numbers.
        note: Told of progress.
    """

    data: Path
    out: Path
    plan: Plan
    note: Note

    @cached_property
    def parts(self) -> Split:
        """The split."""
        return split(read(self.data), self.plan)

    @cached_property
    def scorer(self) -> Sentiment:
        """What majority raters vote by, trained on half A."""
        return self._sentiment("scorer", self.parts.scorer, word_grams, 1)

    @cached_property
    def judge(self) -> Sentiment:
        """What judges the majority's wins, trained on half B."""
        return self._sentiment("judge", self.parts.judge, character_grams, 3)

    def _sentiment(self, name: str, half: Labelled, grams: Grams, rarest: int) -> Sentiment:
        path = self.out / f"{name}.json"
        if path.is_file():
            bias, weights = json.loads(path.read_text("utf-8"))
            return Sentiment(grams, weights, bias)
        found = fit_sentiment(half, grams, rarest)
        write_whole(path, json.dumps([found.bias, dict(found.weights)]))
        return found

    @cached_property
    def unseen(self) -> Labelled:
        """The sentences that neither scorer nor judge nor the model were trained on."""
        a, b = self.parts.prompting, self.parts.held_out
        return Labelled(a.texts + b.texts, a.positive + b.positive)

    @cached_property
    def tokens(self) -> pretraining.PreTrainedTokenizerBase:
        """The tokenizer."""
        texts = self.parts.scorer.texts + self.parts.judge.texts
        return pretraining.tokenizer(texts, self.plan, self.out)

    @cached_property
    def model(self) -> LanguageModel:
        """The language model; its reference is the pretrained one."""
        texts = self.parts.scorer.texts + self.parts.judge.texts
        rows = pretraining.sequences(texts, self.tokens, self.plan)
        module = pretraining.pretrain(rows, self.plan, self.out, self.note)
        for weights in module.parameters():
            weights.requires_grad = weights.ndim == 1  # biases and layer norms, as the plan says
        end = self.tokens.eos_token_id
        return LanguageModel(
            module,
            end=end,
            pad=end,
            limit=self.plan.response_limit,
            temperature=self.plan.sampling,
            tokenizer=self.tokens,
            micro_batch=self.plan.batch * self.plan.draws,
        )

    @cached_property
    def nats_per_token(self) -> float:
        """Mean -log p of the reference on pieces of unseen sentences."""
        rows = sorted(pretraining.sequences(self.unseen.texts, self.tokens, self.plan), key=len)
        total = 0.0
        with torch.no_grad():
            for start in range(0, len(rows), 64):
                batch = rows[start : start + 64]
                count = sum(len(row) - 1 for row in batch)
                total += pretraining.loss_of(self.model.module, batch).item() * count
        return total / sum(len(row) - 1 for row in rows)

    def prompts(self, sentences: Labelled) -> Prompts:
        """Return the beginnings of sentences."""
        texts = [" ".join(text.split()[: self.plan.prompt_words]) for text in sentences.texts]
        return Prompts.of(pretraining.encode(self.tokens, texts), texts)


@dataclass(eq=False)
class Trial:
    """One seed: raters, votes, rewards and policies.

    Args:
        corpus: What all seeds share.
        seed: Of this trial.
    """

    corpus: Corpus
    seed: int

    @property
    def stream(self) -> Stream:
        """Randomness of this seed."""
        return nlhf.Stream(self.seed).child("movie reviews")

    @property
    def folder(self) -> Path:
        """Where its results are."""
        return self.corpus.out / f"seed-{self.seed}"

    @cached_property
    def prompts(self) -> Prompts:
        """Of training."""
        return self.corpus.prompts(self.corpus.parts.prompting)

    @cached_property
    def pool(self) -> Responses:
        """The reference's responses that raters vote on."""
        model, plan = self.corpus.model, self.corpus.plan
        return model.sample(model.reference, self.prompts, plan.pool, self.stream.child("pool"))

    @cached_property
    def features(self) -> Features:
        """What rewards see."""
        model = self.corpus.model
        table = model.module.get_input_embeddings().weight.detach().numpy().copy()
        return Features.of(self.pool, model.texts, self.corpus.scorer, table)

    @cached_property
    def seen(self) -> np.ndarray:
        """Features of the pool."""
        return self.features(self.pool)

    @cached_property
    def votes(self) -> Votes:
        """Of all raters."""
        found = qualities(self.pool, self.corpus.model.texts, self.corpus.scorer)
        return vote(found, self.corpus.plan, self.stream.child("votes"))

    @cached_property
    def pooled(self) -> LinearReward:
        """The single reward."""
        return self.rewards(self.fitted(1))[0]

    @cached_property
    def mixture(self) -> RaterMixture:
        """Two groups of raters."""
        return self.fitted(2)

    def fitted(self, groups: int) -> RaterMixture:
        """Return rewards fitted to the votes."""
        ridge, stream = self.corpus.plan.ridge, self.stream.child("fit", groups)
        return fit_rewards(self.votes, groups, self.seen, ridge, stream)

    def rewards(self, fitted: RaterMixture) -> tuple[LinearReward, ...]:
        """Return the rewards of a fit."""
        return tuple(LinearReward(self.features, np.array(w)) for w in fitted.parameters)

    def assignment(self) -> float:
        """Return the share of raters whom the mixture puts with their group."""
        first = self.mixture.responsibilities[:, 0] > 0.5
        return float(np.mean(first == majority(self.corpus.plan)))

    @cached_property
    def opponent(self) -> Opponent:
        """The reference on the evaluation prompts."""
        model, plan = self.corpus.model, self.corpus.plan
        prompts = self.corpus.prompts(self.corpus.parts.held_out)
        drawn = model.sample(
            model.reference, prompts, plan.judged, self.stream.child("evaluation", "reference")
        )
        return Opponent(drawn, qualities(drawn, model.texts, self.corpus.judge))

    def outcome(self, method: str) -> Outcome:
        """Return the outcome of a method, from disk if it is there."""
        path = self.folder / f"{method}.json"
        if path.is_file():
            return Outcome.load(path)
        trained = self.trained(method)
        model, plan = self.corpus.model, self.corpus.plan
        own = model.sample(
            trained.policy,
            self.opponent.drawn.prompts,
            plan.judged,
            self.stream.child("evaluation", "policy"),
        )
        found = Outcome(
            seed=self.seed,
            method=method,
            **measured(model, trained.policy, own, self.opponent, self.corpus.judge),
            steps=len(trained.divergences),
            path=list(trained.divergences),
            weights=list(trained.weights),
            seconds=trained.seconds,
            samples=samples(model, own),
        )
        if method != "sft":
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(dict(trained.policy.weights), self.folder / f"{method}.safetensors")
        found.save(path)
        return found

    def trained(self, method: str) -> methods.Trained:
        """Train one method."""
        if method == "sft":
            return methods.Trained(self.corpus.model.reference, (), (), 0.0)
        corpus = self.corpus
        setting = methods.Setting(
            corpus.model,
            self.prompts,
            corpus.plan,
            self.stream.child("training", method),
            lambda text: corpus.note(f"seed {self.seed}, {method}, {text}"),
        )
        if method == "single":
            return methods.single(setting, self.pooled)
        if method == "maxmin":
            return methods.maxmin(setting, self.rewards(self.mixture), self.pool)
        if method == "nash":
            rewards, shares = self.rewards(self.mixture), np.array(self.mixture.proportions)
            return methods.nash(setting, PopulationPreference(rewards, shares))
        return methods.single(setting, self.relearned())

    def relearned(self) -> LinearReward:
        """Return the reward learned once more, on the responses of the single reward's policy."""
        self.outcome("single")
        policy = Checkpoint.of(load_file(self.folder / "single.safetensors"))
        model, plan, stream = self.corpus.model, self.corpus.plan, self.stream.child("on policy")
        own = model.sample(policy, self.prompts, plan.pool, stream.child("responses"))
        votes, seen = consensus.on_policy(
            self.votes, self.seen, own, self.pooled, model.tokenizer, stream.child("consensus")
        )
        fitted = fit_rewards(votes, 1, seen, plan.ridge, stream.child("fit"))
        return self.rewards(fitted)[0]
