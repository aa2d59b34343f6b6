"""Seeded faults in what checks theorems, and in the ledger of theorems."""

from tests.mutations.fault import Fault

THEOREMS = (
    # The check
    Fault(
        "violation-sign",
        "nlhf/theorems/statement.py",
        "return self.excess > 0.0",
        "return self.excess < 0.0",
        (
            "tests/theorems/test_checking.py::test_a_true_statement_is_not_falsified_and_its_control_bites",
        ),
    ),
    Fault(
        "rounding-ignored",
        "nlhf/theorems/statement.py",
        "-(self.value + self.rounding) / self.scale",
        "-self.value / self.scale",
        ("tests/theorems/test_checking.py::test_rounding_is_respected[1e-09-not falsified]",),
    ),
    Fault(
        "search-climbs-down",
        "nlhf/theorems/search.py",
        "target(_bounded(part.excess), label=name)",
        "target(_bounded(-part.excess), label=name)",
        ("tests/theorems/test_checking.py::test_climbing_alone_finds_the_narrow_violation_too",),
    ),
    Fault(
        "local-search-climbs-down",
        "nlhf/theorems/search.py",
        "_FAR if part is None else -_bounded(part.excess)",
        "_FAR if part is None else _bounded(part.excess)",
        (
            "tests/theorems/test_checking.py::test_random_points_miss_the_narrow_violation_that_the_local_search_finds",
        ),
    ),
    Fault(
        "toothless-controls-pass",
        "nlhf/theorems/checking.py",
        "if control.bites == 0",
        "if control.bites < 0",
        (
            "tests/theorems/test_checking.py::test_a_control_that_does_not_bite_is_reported_and_fails"
            "[claim survives]",
        ),
    ),
    Fault(
        "nothing-tested-passes",
        "nlhf/theorems/checking.py",
        "return Verdict.NOT_FALSIFIED if tested else Verdict.VACUOUS",
        "return Verdict.NOT_FALSIFIED",
        (
            "tests/theorems/test_checking.py::test_nothing_satisfying_the_hypotheses_is_vacuous_and_fails",
        ),
    ),
    Fault(
        "parts-that-cannot-fail-pass",
        "nlhf/theorems/checking.py",
        "if part.name not in seen",
        "if part.name in ()",
        ("tests/theorems/test_checking.py::test_a_part_that_no_control_breaks_is_named",),
    ),
    Fault(
        "undefined-margins-bite",
        "nlhf/theorems/statement.py",
        "if part.violated and not isnan(part.value)",
        "if part.violated",
        ("tests/theorems/test_checking.py::test_an_undefined_margin_is_no_bite_of_a_control",),
    ),
    # The ledger
    Fault(
        "half-of-a-constant",
        "theory/plug_in.py",
        "RANGE_FACTOR = 1 / 8",
        "RANGE_FACTOR = 1 / 16",
        ("tests/theory/test_ledger_arithmetic.py::test_the_plug_in_gap_of_two_responses",),
    ),
    Fault(
        "punisher-rewards",
        "theory/gap.py",
        "-column_payoff(game, policy), other",
        "column_payoff(game, policy), other",
        (
            "tests/theory/test_ledger_arithmetic.py::test_the_gap_is_what_numerical_minimisation_finds",
        ),
    ),
    Fault(
        "tilt-without-temperature",
        "theory/definitions.py",
        "logits = log_reference + payoff / temperature",
        "logits = log_reference + payoff",
        ("tests/theory/test_ledger_arithmetic.py::test_dominance_in_fifty_digits",),
    ),
)
