"""Where this ledger and the list of statements that it was written from differ, and why."""

from nlhf.theorems import Difference

DIFFERENCES = (
    Difference(
        "gap-controls-reverse-kl",
        "refuted: for every c a member of the family pi_k that leaves mass e^{-k} on a response",
        ("gap-controls-reverse-kl", "reverse-kl-bounded-ratio"),
        "the family leaves mass 2^{-m}, so that every number is rational; the repaired statement"
        " is a theorem of its own",
    ),
    Difference(
        "mle-radius",
        "holds (statistical, stated false-alarm rate)",
        ("mle-radius", "mle-radius-log-odds"),
        "the failure probability is enumerated, so that there is no false alarm; classes given by"
        " log-odds have a radius of their own",
    ),
    Difference(
        "pelhf-version-space",
        "holds; cited form open",
        ("pelhf-version-space", "pelhf-population", "pelhf-as-transcribed"),
        "the cited form is settled: with the radius log(|P|/delta) a counterexample, with twice"
        " that radius a proof",
    ),
    Difference(
        "unilateral-coverage-needed",
        "holds (constructed)",
        ("unilateral-coverage-needed", "coverage-grows-exponentially"),
        "temperature 0 and a fixed temperature are two statements, each with its own construction",
    ),
    Difference(
        "online-existence",
        "open",
        ("online-existence",),
        "proved, with the cited constants and the coefficient realised along the run; the proof is"
        " new, the search found nothing against it",
    ),
    Difference(
        "mirror-descent-linear",
        "holds",
        ("mirror-descent-linear", "optimistic-linear"),
        "the optimistic form, which is not an alias of either map, has a rate of its own",
    ),
    Difference(
        "reward-mismatch",
        "holds; misspecified: open",
        ("reward-mismatch", "reward-mismatch-misspecified", "reward-mismatch-repaired"),
        "the misspecified case is settled: two groups, or one feature, obey it (a proof), three"
        " groups need not (a counterexample with a mismatch of 0)",
    ),
    Difference(
        "reward-mismatch-sharp",
        "holds; misspecified: open",
        ("reward-mismatch-sharp", "reward-mismatch-sharp-misspecified"),
        "the misspecified case is settled: two groups violate the constant 2/D (a counterexample)",
    ),
    Difference(
        "linear-backbone",
        "holds; T13 argued",
        ("linear-backbone",),
        "argued there, proved here, under hypotheses that are executed",
    ),
)
"""Every difference; a row that is not here is a theorem of the same key and verdict."""
