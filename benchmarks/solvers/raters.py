"""Mixtures of raters: how long a million votes take, and how many raters are told apart."""

import time
from collections.abc import Iterator
from functools import partial
from statistics import mean, median
from warnings import catch_warnings, simplefilter

import numpy as np
from jaxtyping import Float, Int

from benchmarks.cases import Raters, Recovery
from benchmarks.found import Found
from benchmarks.turns import Answer, Run, in_turn
from nlhf import Stream
from nlhf.data import Votes
from nlhf.errors import NlhfWarning
from nlhf.estimation import Assignment, MixtureProgress, RaterMixture, fit_mixture
from nlhf.estimation.mixtures.diagnostics import agreement


def electorate(
    generator: np.random.Generator,
    rewards: Float[np.ndarray, "group prompt response"],
    group: Int[np.ndarray, " rater"],
    rater: Int[np.ndarray, " vote"],
) -> Votes:
    """Return votes on pairs drawn uniformly, by the rewards of the rater's group."""
    _, prompts, responses = rewards.shape
    prompt = generator.integers(prompts, size=len(rater))
    a = generator.integers(responses, size=len(rater))
    b = (a + generator.integers(1, responses, size=len(rater))) % responses
    better = rewards[group[rater], prompt, a] - rewards[group[rater], prompt, b]
    won = generator.random(len(rater)) < 1 / (1 + np.exp(-better))
    return Votes(
        tuple(f"prompt-{k}" for k in range(prompts)),
        (tuple(f"response-{k}" for k in range(responses)),) * prompts,
        tuple(f"rater-{k}" for k in range(len(group))),
        prompt,
        a,
        b,
        rater,
        np.where(won, 1, -1).astype(np.int8),
    )


def raters(case: Raters) -> Iterator[Found]:
    """Yield the seconds of soft and hard fits to many votes, and of one iteration."""
    generator = Stream(case.seed).child("raters", case.raters, case.votes).generator()
    rewards = generator.normal(size=(len(case.proportions), case.prompts, case.responses))
    group = generator.choice(len(case.proportions), size=case.raters, p=case.proportions)
    votes = electorate(generator, rewards, group, generator.integers(case.raters, size=case.votes))

    def maker(name: str) -> Run[Votes, RaterMixture]:
        def run(votes: Votes) -> Answer[RaterMixture]:
            ends = [time.perf_counter()]
            found = _fit(votes, len(case.proportions), name, case.seed, ends)
            notes = {
                "seconds_per_iteration": float(np.median(np.diff(ends))),
                "iterations_of_all_restarts": len(ends) - 1,
                "restarts": len(found.runs),
                "raters_in_their_group": agreement(found.responsibilities, _certain(group, found)),
            }
            return Answer(found, notes=notes)

        return run

    makers = {name: partial(maker, name) for name in case.methods}
    judge = lambda _, found: {"relative_score": found.score}  # noqa: E731
    yield from in_turn(makers, lambda _: votes, judge, case.repeats)


def recovery(case: Recovery) -> Iterator[Found]:
    """Yield the share of raters that soft and hard fits put in their group, seed by seed."""
    shares: dict[str, list[float]] = {name: [] for name in case.methods}
    for seed in range(case.seeds):
        stream = Stream(seed).child("recovery", case.raters, case.responses)
        # One electorate a seed, whatever the number of comparisons: curves are paired.
        rewards = case.scale * stream.child("rewards").generator().normal(
            size=(len(case.proportions), case.prompts, case.responses)
        )
        group = (
            stream.child("groups")
            .generator()
            .choice(len(case.proportions), size=case.raters, p=case.proportions)
        )
        rater = np.repeat(np.arange(case.raters), case.comparisons)
        votes = electorate(stream.child("votes").generator(), rewards, group, rater)
        for name in case.methods:
            found = _fit(votes, len(case.proportions), name, seed, [])
            shares[name].append(agreement(found.responsibilities, _certain(group, found)))
    for name, each in shares.items():
        yield Found(
            name,
            {
                "share_in_their_group": mean(each),
                "share_in_their_group_lower_quartile": float(np.quantile(each, 0.25)),
                "share_in_their_group_median": median(each),
                "share_in_their_group_upper_quartile": float(np.quantile(each, 0.75)),
                "share_in_their_group_each": each,
                "share_of_the_largest_group": max(case.proportions),
            },
        )


def _fit(votes: Votes, groups: int, name: str, seed: int, ends: list[float]) -> RaterMixture:
    def observe(_: MixtureProgress) -> None:
        ends.append(time.perf_counter())

    with catch_warnings():
        simplefilter("ignore", NlhfWarning)
        return fit_mixture(
            votes, groups, assignment=Assignment(name), stream=Stream(seed), observe=observe
        )


def _certain(group: Int[np.ndarray, " rater"], found: RaterMixture) -> np.ndarray:
    return np.eye(found.groups)[group]
