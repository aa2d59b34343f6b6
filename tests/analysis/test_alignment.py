"""Policies for groups of raters: held out honestly, judged by definition, found where planted."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nlhf
from nlhf.analysis.alignment import MAXMIN, REFERENCE, SINGLE, align, own
from nlhf.analysis.alignment_policies import Together, maxmin_policy, optimal_policies
from nlhf.analysis.alignment_settings import AlignmentSettings
from nlhf.analysis.held_out import Judges, resampled_means, split_votes
from nlhf.data.votes import Votes
from nlhf.errors import Degenerate, HypothesisViolated, InvalidData, InvalidProblem
from tests.unchecked import raised

SIZES = (4, 5, 2)
MINORITY = 12
RATERS = 48


def votes_of(rows, sizes=SIZES, raters=None) -> Votes:
    """Rows are (prompt, a, b, annotator, label)."""
    columns = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    count = int(columns[3].max(initial=0)) + 1 if raters is None else raters
    return Votes(
        prompts=tuple(f"prompt {x}" for x in range(len(sizes))),
        responses=tuple(tuple(f"response {y}" for y in range(n)) for n in sizes),
        annotators=tuple(f"rater {h}" for h in range(count)),
        prompt=columns[0],
        response_a=columns[1],
        response_b=columns[2],
        annotator=columns[3],
        label=columns[4].astype(np.int8),
    )


def tastes() -> list[np.ndarray]:
    """Two groups: what one likes best the other likes least, and a compromise in the middle."""
    return [
        np.array([[1.5, 0.5, -0.5, -1.5], [-1.5, 0.7, -0.5, 1.5]]),
        np.array([[1.8, 1.0, 0.2, -1.0, -1.8], [-1.8, 0.5, 1.0, -1.0, 1.8]]),
        np.array([[1.0, -1.0], [-1.0, 1.0]]),
    ]


def planted(seed: int = 1) -> tuple[Votes, np.ndarray]:
    """Every rater votes six times on every pair; the last dozen are the minority."""
    generator = nlhf.Stream(seed).child("planted").generator()
    group = (np.arange(RATERS) >= RATERS - MINORITY).astype(int)
    rows = []
    for x, rewards in enumerate(tastes()):
        for h, (a, b), _ in itertools.product(
            range(RATERS), itertools.combinations(range(rewards.shape[1]), 2), range(6)
        ):
            p = 1.0 / (1.0 + np.exp(rewards[group[h], b] - rewards[group[h], a]))
            rows.append((x, a, b, h, 1 if generator.random() < p else -1))
    return votes_of(rows), group


@pytest.fixture(scope="module")
def alignment():
    votes, _ = planted()
    return align(votes, AlignmentSettings(groups=2, temperature=0.3, bootstrap=200))


questions = st.lists(
    st.tuples(
        st.sampled_from([(0, 0, 1), (0, 1, 0), (0, 2, 1), (1, 0, 4), (1, 4, 0), (2, 1, 0)]),
        st.integers(0, 5),
        st.integers(-1, 1),
    ),
    min_size=1,
    max_size=60,
)


@given(questions, st.floats(0.05, 0.95), st.integers(0, 10))
def test_no_answer_is_both_estimated_from_and_held_out(answers, share, seed):
    votes = votes_of([(*question, h, label) for question, h, label in answers], raters=6)
    try:
        split = split_votes(votes, share, nlhf.Stream(seed))
    except InvalidData:
        return
    both = [split.training, split.held_out]
    asked = [
        {
            (h, x, *sorted(pair))
            for h, x, *pair in zip(
                part.annotator, part.prompt, part.response_a, part.response_b, strict=True
            )
        }
        for part in both
    ]
    assert not asked[0] & asked[1]
    assert len(both[0]) + len(both[1]) == len(votes)
    assert set(split.training.annotator) == set(votes.annotator)
    assert all(part.annotators == votes.annotators for part in both)


def test_about_the_asked_share_of_answers_is_held_out():
    votes, _ = planted()
    answers = len(votes) / 6  # six votes each; all but 48 of 816 are drawn independently
    split = split_votes(votes, 0.25, nlhf.Stream(3))
    # Hoeffding: off by more than 0.1 with probability at most 2 exp(-2 * 816 * 0.1²) < 2e-7.
    assert answers == 816
    assert split.share == pytest.approx(0.25, abs=0.1)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    votes, _ = planted()
    with pytest.raises(InvalidProblem, match="between 0 and 1"):
        split_votes(votes, share, nlhf.Stream(0))


def test_raters_with_one_answer_each_leave_nothing_to_hold_out():
    votes = votes_of([(0, 0, 1, h, 1) for h in range(9)])
    with pytest.raises(InvalidData, match="none is held out"):
        split_votes(votes, 0.5, nlhf.Stream(0))


def test_win_rates_are_those_of_the_definition_where_every_pair_was_asked_equally():
    generator = nlhf.Stream(4).child("definition").generator()
    rows = [
        (x, a, b, h, int(generator.integers(-1, 2)))
        for x, n in enumerate(SIZES)
        for a, b in itertools.combinations(range(n), 2)
        for h in range(6)
    ]
    votes = votes_of(rows)
    policies = [[generator.dirichlet(np.ones(n)) for n in SIZES] for _ in range(3)]
    references = [generator.dirichlet(np.ones(n)) for n in SIZES]
    group = np.array([0, 0, 0, 1, 1, 1])
    judges = Judges(votes, policies, references)
    found = judges.wins(np.eye(2)[group], 0, nlhf.Stream(0)).rates.value
    for j, u in itertools.product(range(3), range(2)):
        total = 0.0
        for x, n in enumerate(SIZES):
            p = np.full((n, n), 0.5)
            for a, b in itertools.combinations(range(n), 2):
                labels = [r[4] for r in rows if r[:3] == (x, a, b) and group[r[3]] == u]
                p[a, b] = np.mean([(1 + label) / 2 for label in labels])
                p[b, a] = 1.0 - p[a, b]
            total += policies[j][x] @ p @ references[x]
        assert found[j, u] == pytest.approx(total / len(SIZES), abs=1e-12)


def test_asking_some_pairs_more_often_does_not_count_them_more():
    rows = [(0, 0, 1, 0, 1), (0, 0, 2, 0, -1), (0, 1, 2, 0, -1)]
    policy, reference = [np.array([0.7, 0.2, 0.1])], [np.array([0.2, 0.3, 0.5])]
    once = Judges(votes_of(rows, sizes=(3,)), [policy], reference)
    often = Judges(votes_of(rows + rows[:1] * 50, sizes=(3,)), [policy], reference)
    one, many = (judge.wins(np.ones((1, 1)), 0, nlhf.Stream(0)) for judge in (once, often))
    assert one.rates.value == pytest.approx(many.rates.value, abs=1e-12)


def test_raters_who_say_the_same_leave_no_doubt():
    rows = [(0, 0, 1, h, 1) for h in range(8)] + [(0, 0, 2, h, -1) for h in range(8)]
    policy, reference = [np.array([0.7, 0.2, 0.1])], [np.full(3, 1 / 3)]
    judges = Judges(votes_of(rows, sizes=(3,)), [policy], reference)
    found = judges.wins(np.ones((8, 1)), 50, nlhf.Stream(0))
    assert found.rates.low == pytest.approx(found.rates.value, abs=1e-12)
    assert found.rates.high == pytest.approx(found.rates.value, abs=1e-12)


def test_resampled_means_have_the_spread_of_a_mean():
    generator = nlhf.Stream(5).child("spread").generator()
    values = generator.normal(size=(1, 400))
    found = resampled_means(values, np.ones(400), 4000, nlhf.Stream(0))
    assert found.value[0] == pytest.approx(values.mean(), abs=1e-12)
    # Each end is a quantile of 4000 nearly normal means, known to about 3 %: five of them.
    width = 2 * 1.96 * values.std() / 20
    assert found.high[0] - found.low[0] == pytest.approx(width, rel=0.15)


@pytest.mark.slow
def test_intervals_cover_the_true_win_rate():
    generator = nlhf.Stream(6).child("coverage").generator()
    n, raters, repeats = 6, 60, 400
    rewards = generator.normal(size=(2, n))
    p = 1.0 / (1.0 + np.exp(rewards[:, None, :] - rewards[:, :, None]))
    policy, reference = generator.dirichlet(np.ones(n)), np.full(n, 1.0 / n)
    truth = p @ reference @ policy
    group = (np.arange(raters) % 3 == 0).astype(int)
    pairs = np.array([*itertools.combinations(range(n), 2)])
    covered = np.zeros(2)
    for k in range(repeats):
        h = np.repeat(np.arange(raters), generator.integers(1, 9, size=raters))
        a, b = pairs[generator.integers(len(pairs), size=len(h))].T
        label = np.where(generator.random(len(h)) < p[group[h], a, b], 1, -1)
        votes = votes_of(np.stack([0 * h, a, b, h, label], axis=1), sizes=(n,), raters=raters)
        judges = Judges(votes, [[policy]], [reference])
        rates = judges.wins(np.eye(2)[group], 300, nlhf.Stream(k)).rates
        covered += (rates.low[0] <= truth) & (truth <= rates.high[0])
    # A true coverage of 0.93 falls below 0.86 in 400 repeats with a probability below 1e-6.
    assert (covered / repeats > 0.86).all()


def test_the_reference_wins_half_of_everybody(alignment):
    assert alignment.policies[0].name == REFERENCE
    assert alignment.held_out.rates.value[0] == pytest.approx([0.5, 0.5], abs=1e-12)
    assert alignment.policies[0].rates == pytest.approx([0.5, 0.5], abs=1e-12)
    assert alignment.policies[0].divergence == pytest.approx(0.0, abs=1e-12)


def test_the_worst_group_has_at_most_the_mean(alignment):
    found = alignment.held_out
    assert (found.worst.value <= found.mean.value).all()
    assert (found.worst.low <= found.worst.high).all()
    assert found.worst.value == pytest.approx(found.rates.value.min(axis=1))


def test_no_policy_of_the_table_has_a_better_worst_group_than_maxmin(alignment):
    tau = alignment.settings.temperature
    value = {p.name: p.utilities.min() - tau * p.divergence for p in alignment.policies}
    assert max(value, key=value.get) == MAXMIN
    assert value[REFERENCE] == pytest.approx(0.0, abs=1e-12)
    assert alignment.maxmin.certificate.bound.high <= 1e-10


def test_a_groups_own_policy_is_best_for_it(alignment):
    tau = alignment.settings.temperature
    for u in range(2):
        value = {p.name: p.utilities[u] - tau * p.divergence for p in alignment.policies}
        assert max(value, key=value.get) == own(u)


def test_with_one_group_maxmin_is_its_own_policy_and_the_single_rewards():
    votes, _ = planted()
    found = align(votes, AlignmentSettings(groups=1, bootstrap=0))
    by_name = {policy.name: policy for policy in found.policies}
    for name in (own(0), SINGLE):
        for one, other in zip(by_name[MAXMIN].policy, by_name[name].policy, strict=True):
            assert one == pytest.approx(other, abs=1e-10)
    assert found.evidence.log_likelihood.value[2] == pytest.approx(0.0, abs=1e-12)


rewards_of_a_prompt = st.integers(1, 5).flatmap(
    lambda n: st.lists(
        st.lists(st.floats(-3, 3), min_size=n, max_size=n), min_size=2, max_size=2
    ).map(np.array)
)


@settings(max_examples=25)
@given(st.lists(rewards_of_a_prompt, min_size=1, max_size=4), st.sampled_from([0.05, 0.3, 2.0]))
def test_prompts_of_different_sizes_are_one_game_exactly(rewards, tau):
    found = maxmin_policy(rewards, tau, nlhf.Offsets.AS_GIVEN)
    w = found.weights
    utilities, cost = np.zeros(2), 0.0
    for r, policy in zip(rewards, found.policy, strict=True):
        logits = w @ r / tau
        tilted = np.exp(logits - logits.max())
        assert policy == pytest.approx(tilted / tilted.sum(), abs=1e-9)
        utilities += r @ policy / len(rewards)
        cost += tau * np.log(policy * policy.size) @ policy / len(rewards)
    # Without copies: what the policy secures, against a dual value that nothing exceeds.
    dual = np.mean(
        [
            tau * (np.log(np.mean(np.exp(w @ r / tau - (w @ r / tau).max()))) + (w @ r / tau).max())
            for r in rewards
        ]
    )
    assert utilities.min() - cost == pytest.approx(dual, abs=1e-8)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_copies_are_put_together_again(sizes):
    together = Together(tuple(sizes))
    reference = together.reference()
    assert reference.sum(axis=1) == pytest.approx(np.ones(len(sizes)))
    assert (reference > 0.0).all()
    for part, size in zip(together.apart(reference), sizes, strict=True):
        assert part == pytest.approx(np.full(size, 1.0 / size))


def test_planted_groups_are_found_and_maxmin_serves_the_minority():
    votes, group = planted()
    rewards = tastes()
    # Given the rewards and four fifths of his votes, a rater is taken for one of the other group
    # with a probability below the product of Bhattacharyya coefficients of the votes. Of all
    # raters: at most 1e-6, the false-alarm rate of this test as far as the groups go.
    training = split_votes(votes, 0.2, nlhf.Stream(0).child("align")).training
    logs = np.zeros(RATERS)
    for x, a, b, h in zip(
        training.prompt, training.response_a, training.response_b, training.annotator, strict=True
    ):
        p, q = 1.0 / (1.0 + np.exp(rewards[x][:, b] - rewards[x][:, a]))
        logs[h] += np.log(np.sqrt(p * q) + np.sqrt((1 - p) * (1 - q)))
    assert np.exp(logs).sum() < 1e-6
    found = align(votes, AlignmentSettings(groups=2, temperature=0.3, bootstrap=200))
    assert (found.mixture.responsibilities.argmax(axis=1) == group).all()
    assert found.mixture.proportions == pytest.approx([0.75, 0.25], abs=1e-3)
    assert found.evidence.gain[1] > 0.0
    names = [policy.name for policy in found.policies]
    single, maxmin = names.index(SINGLE), names.index(MAXMIN)
    assert found.held_out.rates.value[single, 1] < 0.5 < found.held_out.rates.value[maxmin, 1]
    assert found.held_out.gains.low[maxmin, 2] > 0.0
    # The fitted rewards and the votes that were held out from them tell the same story.
    model = np.stack([policy.rates for policy in found.policies])
    assert found.held_out.rates.value == pytest.approx(model, abs=0.1)
    for u in range(2):
        assert model[:, u].max() == pytest.approx(model[names.index(own(u)), u], abs=1e-9)


def test_the_same_seed_gives_the_same_answer(alignment):
    votes, _ = planted()
    again = align(votes, AlignmentSettings(groups=2, temperature=0.3, bootstrap=200))
    assert (again.held_out.rates.low == alignment.held_out.rates.low).all()
    for one, other in zip(again.policies, alignment.policies, strict=True):
        assert all((p == q).all() for p, q in zip(one.policy, other.policy, strict=True))


def test_optimal_policies_tilt_the_uniform_reference():
    (policy,), (other,) = optimal_policies([np.array([[1.0, 0.0], [0.0, 3.0]])], 0.5)
    assert policy[0] / policy[1] == pytest.approx(np.exp(2.0))
    assert other[1] / other[0] == pytest.approx(np.exp(6.0))


def test_votes_that_name_no_raters_are_refused():
    votes, _ = planted()
    nameless = Votes(
        votes.prompts,
        votes.responses,
        ("anonymous",),
        votes.prompt,
        votes.response_a,
        votes.response_b,
        np.zeros_like(votes.annotator),
        votes.label,
    )
    with pytest.raises(InvalidData, match="none names its rater"):
        align(nameless, AlignmentSettings(groups=2))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"temperature": 0.0}, "temperature is 0"),
        ({"temperature": float("inf")}, "temperature is inf"),
        ({"temperature": 1e-200}, "from 1e-99"),
        ({"bootstrap": -1}, "-1 resamples"),
        ({"bootstrap": 39}, "at least 40"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_settings_out_of_range_are_refused(arguments, words):
    with pytest.raises(InvalidProblem, match=words):
        AlignmentSettings(**arguments)


def test_choices_that_there_are_not_are_refused_in_words():
    setting = "from nlhf.analysis.alignment_settings import AlignmentSettings"
    calls = {
        "AlignmentSettings(offsets='none')": "choose from 'as given', 'reference', 'regret'",
        "AlignmentSettings(assignment='firm')": "choose from",
    }
    for call, (kind, message) in raised(setting, calls).items():
        assert kind == "InvalidProblem"
        assert calls[call] in message


def test_groups_that_nobody_belongs_to_are_refused():
    votes, _ = planted()
    with (
        pytest.warns(Degenerate, match="nobody"),
        pytest.raises(HypothesisViolated, match=r"of 6 groups have nobody in them"),
    ):
        align(votes, AlignmentSettings(groups=6, bootstrap=0, restarts=2))


def every_pair(labels) -> Votes:
    """Rater h answers every pair of three responses four times, by `labels[h]`."""
    return votes_of(
        [
            (0, a, b, h, label)
            for h, label in enumerate(labels)
            for a, b in itertools.combinations(range(3), 2)
            for _ in range(4)
        ],
        sizes=(3,),
    )


@pytest.mark.filterwarnings("ignore::nlhf.errors.Degenerate")
def test_a_group_of_one_rater_is_somebody():
    found = align(every_pair([1, -1]), AlignmentSettings(groups=2, bootstrap=0, seed=4))
    assert 0.99 < found.mixture.diagnostics.group_raters.min() < 1.0


@pytest.mark.filterwarnings("ignore::nlhf.errors.Degenerate")
def test_no_more_groups_are_tried_than_there_are_raters():
    found = align(every_pair([1, -1]), AlignmentSettings(bootstrap=0, seed=4))
    assert [one.groups for one in found.choice.candidates] == [1, 2]


@pytest.mark.filterwarnings("ignore::nlhf.errors.NlhfWarning")
def test_evidence_is_finite_where_groups_are_as_good_as_certain():
    settings_ = AlignmentSettings(groups=2, bootstrap=0, ridge=1e-30, restarts=1, seed=4)
    found = align(every_pair([1, -1] * 3), settings_).evidence.log_likelihood
    assert np.isfinite(found.value).all()
    # One group knows half of the answers; two know them all.
    assert found.value[1] == pytest.approx(0.0, abs=1e-9)


def test_votes_of_ties_only_are_counted_before_any_are_held_out():
    with pytest.raises(InvalidData, match="all 24 votes are ties"):
        align(every_pair([0, 0]), AlignmentSettings(groups=1))


def test_a_larger_share_is_not_advised_where_it_would_not_help():
    one = votes_of([(0, 0, 1, h, 1) for h in range(5)])
    with pytest.raises(InvalidData, match="5 answers of 5 raters") as caught:
        split_votes(one, 0.5, nlhf.Stream(0))
    assert "larger share" not in str(caught.value)
    two = votes_of([(0, 0, 1, h, 1) for h in range(5)] + [(1, 0, 1, h, 1) for h in range(5)])
    with pytest.raises(InvalidData, match="10 answers of 5 raters") as caught:
        split_votes(two, 1e-9, nlhf.Stream(0))
    assert "larger share" in str(caught.value)


def test_that_maxmin_rests_on_a_group_of_whom_little_is_known_is_said():
    votes, group = planted()
    first = (votes.prompt == 0) & (votes.response_a + votes.response_b == 3)  # 0 with 3, 1 with 2
    kept = (group[votes.annotator] == 0) | first
    columns = (votes.prompt, votes.response_a, votes.response_b, votes.annotator, votes.label)
    fewer = votes_of(np.stack([column[kept] for column in columns], axis=1))
    with pytest.warns(Degenerate) as caught:
        align(fewer, AlignmentSettings(groups=2, bootstrap=0))
    said = [str(w.message) for w in caught if "rests on groups of whom" in str(w.message)]
    assert len(said) == 1
    assert "which they do not connect in 1 of 3 prompts" in said[0]


@pytest.fixture(scope="module")
def crowd(real_data) -> Votes:
    return nlhf.read_votes(real_data / "convarg" / "votes.csv")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::nlhf.errors.Degenerate")
def test_real_people_are_one_group_as_far_as_their_votes_tell(crowd):
    found = align(crowd, AlignmentSettings(bootstrap=100, restarts=2))
    assert found.groups == 1
    assert found.largest_gap <= 1e-10
    for one, other in zip(found.policies[1].policy, found.policies[3].policy, strict=True):
        assert one == pytest.approx(other, abs=1e-9)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::nlhf.errors.Degenerate")
def test_a_reversed_minority_of_real_people_is_found_and_served(crowd):
    reversed_ = nlhf.Stream(5).generator().random(len(crowd.annotators)) < 0.15
    label = np.where(reversed_[crowd.annotator], -crowd.label, crowd.label).astype(np.int8)
    found = align(
        replace(crowd, label=label), AlignmentSettings(groups=2, restarts=5, bootstrap=200)
    )
    asked = np.bincount(crowd.annotator, minlength=len(crowd.annotators)) >= 10
    agree = (found.mixture.responsibilities.argmax(axis=1) == reversed_)[asked]
    # By guessing the larger group, 85 % of 609 raters would do: 95 % are over 6 deviations away.
    assert agree.mean() > 0.95
    assert found.evidence.gain[1] > 0.0
    names = [policy.name for policy in found.policies]
    maxmin, worst = names.index(MAXMIN), 2
    assert found.held_out.gains.low[maxmin, worst] > 0.0
