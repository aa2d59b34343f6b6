"""Tables and JSON documents of policies learned from votes."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

from rich.measure import Measurement
from rich.table import Table

from nlhf.analysis.held_out import HeldOutWins
from nlhf.analysis.learning import REFERENCE, LearnedPolicy, OfflineStudy
from nlhf.analysis.learning_fits import Fit
from nlhf.analysis.learning_online import OnlineStudy
from nlhf.analysis.learning_settings import Method
from nlhf.cli.tables import plain_console
from nlhf.estimation.classes.models import FiniteConfidence
from nlhf.results import Provenance

_WIDTH = 200


def print_offline(study: OfflineStudy, reading: float) -> None:
    """Print every policy with what is certain of it and how it does, and what that rests on."""
    console = plain_console(_WIDTH)
    for fit in study.fits:
        for line in _fit(fit, study):
            console.print(line)
    unlimited = console.options.update(width=10_000)
    for table in (_policies(study, ends=True), _policies(study, ends=False)):
        if Measurement.get(console, unlimited, table).maximum <= console.width:
            break
    console.print(table)
    for line in (*_certificates(study), *_judgement(study), *_ending(study, reading)):
        console.print(line)


def _fit(fit: Fit, study: OfflineStudy) -> list[str]:
    """Say what was fitted, and whether other votes refute the class."""
    confidence, held_out = fit.confidence, f"{fit.held_out:.4f} nats a held-out vote"
    if not isfinite(fit.held_out):
        held_out = "some held-out vote is impossible under the estimate"
    left = ""
    if isinstance(confidence, FiniteConfidence):
        left = f", {len(confidence.members)} of {len(confidence.tables)} left"
    verdict = (
        f"refuted at level {study.settings.delta:g}, p ≤ {fit.misfit.p_value:.1g}: certificates "
        "that take it to be true are void"
        if fit.misfit.excluded
        else f"not refuted (p ≤ {fit.misfit.p_value:.2g}), which does not make it true"
    )
    return [
        f"Class {fit.name}: fitted to {fit.votes:,} votes{left}; {held_out}; by held-out votes "
        f"{verdict}.",
        f"  Event of probability {1.0 - confidence.delta:g}: {confidence.statement}.",
    ]


def _policies(study: OfflineStudy, *, ends: bool) -> Table:
    """Return the table of policies, with the ends of intervals or without."""
    title = "Certified gap, and win rates by held-out votes"
    table = Table(title=title, title_justify="left", row_styles=["", "dim"])
    table.add_column("policy", overflow="fold")
    table.add_column("certified\ngap ≤", justify="right")
    table.add_column("certificate")
    table.add_column("KL", justify="right")
    table.add_column("wins against\nreference", justify="right")
    table.add_column("wins against\nplug-in", justify="right")
    for k, policy in enumerate(study.policies):
        reference, plug_in = policy.name == REFERENCE, policy.name == Method.PLUG_IN
        table.add_row(
            policy.name,
            f"({policy.gap.high:.4f})" if study.refuted(policy) else f"{policy.gap.high:.4f}",
            _worth(study, policy),
            f"{policy.divergence:.2f}",
            "" if reference else _rate(study.wins, k, ends=ends),
            "" if plug_in else _rate(study.duels, k, ends=ends),
        )
    return table


def _worth(study: OfflineStudy, policy: LearnedPolicy) -> str:
    """Return what a certificate is worth, in a word."""
    if study.refuted(policy):
        return "void"
    if study.vacuous(policy):
        return "says nothing"
    confidence = study.fits[policy.fit].confidence
    if isinstance(confidence, FiniteConfidence):
        return f"holds if one of\n{len(confidence.tables)} is true"
    return "holds if\nthe class does"


def _certificates(study: OfflineStudy) -> list[str]:
    """Say in words what the certified gaps mean."""
    bare = ", ".join(f"{fit.uninformed:.4f} ({fit.name})" for fit in study.fits)
    lines = [
        f"A certified gap bounds the exploitability in the true game, in "
        f"{study.settings.link.units}, averaged over prompts; it says nothing unless it is below "
        f"what the reference has without any votes: {bare}."
    ]
    if any(isinstance(fit.confidence, FiniteConfidence) for fit in study.fits):
        lines.append(
            "Finitely many candidates know nothing of models between them: that one of them is "
            "exactly true is a strong assumption, and few votes cannot refute it."
        )
    for named, what in (
        (study.vacuous, "Nothing is certain that was not before the votes"),
        (study.refuted, "Void, for held-out votes refute the class that it takes to be true"),
    ):
        names = [policy.name for policy in study.policies if named(policy)]
        lines += [f"{what}: the certified gap of {', '.join(names)}."] if names else []
    lines += [
        f"Against competitors that play only responses with votes, {policy.name} has a certified "
        f"gap of {policy.against_covered:.4f}."
        for policy in study.policies
        if policy.against_covered is not None
    ]
    return lines


def _judgement(study: OfflineStudy) -> list[str]:
    covered = [*study.wins.coverage[1:], *study.duels.coverage[2:]]
    intervals = "95 % intervals below them" if study.wins.resamples else "no intervals"
    return [
        f"Win rates: {len(study.split.held_out):,} held-out votes, {intervals}; these cover "
        f"{min(covered):.0%} to {max(covered):.0%} of the pairs of responses that are drawn. "
        "Exploitability is not judged by votes: too few are on any one pair.",
    ]


def _ending(study: OfflineStudy | OnlineStudy, reading: float) -> list[str]:
    lines = [f"Choice: {choice}." for choice in study.choices]
    times = ", ".join(f"{stage} {seconds:.3f} s" for stage, seconds in study.seconds)
    return [*lines, f"Time: reading {reading:.3f} s, {times}."]


def _rate(found: HeldOutWins, policy: int, *, ends: bool) -> str:
    value, low, high = (
        float(getattr(found.rates, end)[policy, 0]) for end in ("value", "low", "high")
    )
    if not isfinite(value):
        return "no votes"
    return f"{value:.3f}" + (f"\n{low:.3f}–{high:.3f}" if ends and isfinite(low) else "")


def print_online(study: OnlineStudy, reading: float) -> None:
    """Print the main agent before every round and after all, and what that rests on."""
    console = plain_console(_WIDTH)
    title = (
        f"Main agent, {study.asking.explorer} explorer, {study.asking.queries} questions a round"
    )
    table = Table(title=title, title_justify="left", row_styles=["", "dim"])
    for heading in (
        "after\nround",
        "answers",
        "certified\ngap ≤",
        "true gap",
        "wins against\nreference",
        "95 %",
    ):
        table.add_column(heading, justify="right")
    for k, standing in enumerate(study.run.standings):
        low, high = (float(getattr(study.wins.rates, end)[k, 0]) for end in ("low", "high"))
        table.add_row(
            str(k),
            f"{standing.answers:,.0f}",
            f"{standing.gap.high:.4f}",
            f"{study.true_gaps[k]:.4f}",
            _rate(study.wins, k, ends=False),
            f"{low:.3f}–{high:.3f}" if isfinite(low) else "",
        )
    console.print(table)
    for line in (*_rounds(study), *_ending(study, reading)):
        console.print(line)


def _rounds(study: OnlineStudy) -> list[str]:
    """Say in words what the rounds came to."""
    best, last = study.run.best, study.run.last
    says = "less" if best.gap.high < study.uninformed else "no less, so nothing is certain"
    held = int((study.true_gaps <= study.run.gaps).sum())
    return [
        f"The smallest certified gap is {best.gap.high:.4f} in {study.settings.link.units}, after "
        f"{best.answers:,.0f} answers; the reference has {study.uninformed:.4f} without any: "
        f"{says}.",
        f"Certificates hold all at once with probability {last.gap.confidence:g} if the class "
        f"contains the truth; here {held} of {len(study.true_gaps)} do.",
        "The true gap takes the shares of the votes that answer for the truth, 1/2 where there are "
        "none.",
        f"Win rates: {len(study.split.held_out):,} held-out votes; these cover "
        f"{study.wins.coverage.min():.0%} to {study.wins.coverage.max():.0%} of the pairs of "
        "responses that are drawn.",
    ]


def offline_document(
    study: OfflineStudy, config: Mapping[str, Any], reading: float
) -> dict[str, Any]:
    """Return the whole study as plain JSON types; times are in seconds, unknown numbers null."""
    return {
        "exit_code": 0,
        "config": dict(config),
        "versions": dict(Provenance(method="").versions),
        "timings": {"reading": reading, **dict(study.seconds)},
        "choices": list(study.choices),
        "votes": {"training": len(study.split.training), "held_out": len(study.split.held_out)},
        "prompts": _prompts(study.prompts, study.responses),
        "units": str(study.settings.link.units),
        "classes": [_class(fit) for fit in study.fits],
        "policies": [_policy(study, k) for k in range(len(study.policies))],
    }


def _prompts(
    prompts: Sequence[str], responses: Sequence[Sequence[str]]
) -> list[dict[str, str | list[str]]]:
    return [
        {"prompt": prompt, "responses": list(ids)}
        for prompt, ids in zip(prompts, responses, strict=True)
    ]


def _class(fit: Fit) -> dict[str, Any]:
    confidence = fit.confidence
    return {
        "name": fit.name,
        "votes": fit.votes,
        "log_likelihood": _number(confidence.model.log_likelihood),
        "held_out_log_likelihood_a_vote": _number(fit.held_out),
        "radius": confidence.radius,
        "certified_gap_of_reference_without_votes": fit.uninformed,
        "event": confidence.statement,
        "event_probability": 1.0 - confidence.delta,
        "members": len(confidence.members) if isinstance(confidence, FiniteConfidence) else None,
        "misfit": {
            "log_evidence": _number(fit.misfit.log_evidence),
            "p_value": fit.misfit.p_value,
            "refuted": fit.misfit.excluded,
        },
    }


def _policy(study: OfflineStudy, k: int) -> dict[str, Any]:
    policy = study.policies[k]
    return {
        "name": policy.name,
        "policy": [p.tolist() for p in policy.policy],
        "kl_from_reference": policy.divergence,
        "class": study.fits[policy.fit].name,
        "certified_gap": policy.gap.high,
        "certified_gap_against_covered": policy.against_covered,
        "vacuous": study.vacuous(policy),
        "void": study.refuted(policy),
        "optimality": policy.optimality,
        "held_out": {
            "win_rate": _entry(study.wins, k),
            "win_rate_against_plug_in": _entry(study.duels, k),
        },
    }


def online_document(
    study: OnlineStudy, config: Mapping[str, Any], reading: float
) -> dict[str, Any]:
    """Return the whole study as plain JSON types; times are in seconds, unknown numbers null."""
    asked = [*study.run.rounds, None]
    return {
        "exit_code": 0,
        "config": dict(config),
        "versions": dict(Provenance(method="").versions),
        "timings": {"reading": reading, **dict(study.seconds)},
        "choices": list(study.choices),
        "votes": {"answering": len(study.split.training), "held_out": len(study.split.held_out)},
        "prompts": _prompts(study.prompts, study.responses),
        "units": str(study.settings.link.units),
        "pairs_without_votes": study.unseen,
        "certified_gap_of_reference_without_votes": study.uninformed,
        "event_probability": study.run.last.gap.confidence,
        "standings": [
            {
                "after_round": k,
                "answers": standing.answers,
                "certified_gap": standing.gap.high,
                "enhancer_certificate": standing.certificate.high,
                "gamma": _number(standing.gamma),
                "true_gap": float(study.true_gaps[k]),
                "win_rate": _entry(study.wins, k),
                "eluder_increment": None if one is None else one.increment,
                "policy": [p.tolist() for p in study.policies[k]],
            }
            for k, (standing, one) in enumerate(zip(study.run.standings, asked, strict=True))
        ],
    }


def _entry(found: HeldOutWins, policy: int) -> dict[str, float | None]:
    """Return a win rate with its interval and with what share of pairs has votes."""
    rates = found.rates
    return {
        "value": _number(float(rates.value[policy, 0])),
        "low": _number(float(rates.low[policy, 0])),
        "high": _number(float(rates.high[policy, 0])),
        "coverage": float(found.coverage[policy]),
    }


def _number(value: float) -> float | None:
    """Return a number that JSON has, or null."""
    return value if isfinite(value) else None
