"""What realisers that train keep: the optimiser, the count of steps, and the audits."""

from dataclasses import dataclass, field

from nlhf.errors import HypothesisViolated
from nlhf.lm.draws import Draws, Sampled
from nlhf.lm.model import LanguageModel
from nlhf.lm.payoffs import ResponsePayoff
from nlhf.lm.realisers.audit import audited
from nlhf.lm.realisers.base import UNKNOWN, Anchors, RealiserState, Report
from nlhf.lm.realisers.optimisation import Optimisation, Optimiser
from nlhf.lm.strategies import Strategy
from nlhf.protocols import Prox
from nlhf.results import Bound
from nlhf.streams import Stream


@dataclass(frozen=True, slots=True)
class Audit:
    """How the residual of a step is measured on the new strategy's own responses.

    Attributes:
        draws: The responses; they cost a sample and two scorings.
        every: Audit every so many proximal steps; of the others nothing is known.

    Raises:
        HypothesisViolated: If `every` is not a positive integer.
    """

    draws: Draws = field(default_factory=lambda: Sampled(8))
    every: int = 1

    def __post_init__(self) -> None:
        if not self.every >= 1:
            raise HypothesisViolated(f"every is {self.every}", "pass a positive whole number")


class Record:
    """The memory of a realiser.

    Args:
        stream: Randomness of the realiser.
        optimisation: Gradient steps.
        audit: How steps are measured.
    """

    def __init__(self, stream: Stream, optimisation: Optimisation, audit: Audit) -> None:
        self.stream, self.optimisation, self.audit = stream, optimisation, audit
        self.reports: list[Report] = []
        self.count = 0
        self._optimiser: Optimiser | None = None

    def here(self, name: str) -> Stream:
        """Return this step's randomness of a name."""
        return self.stream.child(name, self.count)

    def due(self) -> bool:
        """Return whether this step is audited."""
        return self.count % self.audit.every == 0

    def optimiser(self, model: LanguageModel) -> Optimiser:
        """Return the optimiser of the model's weights, the same in every step.

        Raises:
            HypothesisViolated: If earlier steps were on another model.
        """
        if self._optimiser is None:
            self._optimiser = Optimiser(self.optimisation, model)
        if self._optimiser.model is not model:
            raise HypothesisViolated(
                "a realiser that has trained one model is asked to train another",
                "make a realiser for every model: its optimiser remembers the weights of one",
            )
        return self._optimiser

    def finish(
        self,
        model: LanguageModel,
        payoff: ResponsePayoff,
        anchors: Anchors,
        taken: list[tuple[float, float]],
        held_out: Bound = UNKNOWN,
    ) -> Prox[Strategy]:
        """Return the strategy that the weights now are, audited if it is time.

        Args:
            model: The model, with the weights reached.
            payoff: Of the step.
            anchors: Of the step.
            taken: Loss and gradient norm of every optimiser step.
            held_out: The residual on held-out responses of the pair distribution.
        """
        strategy, residual = model.snapshot(), UNKNOWN
        if self.due():
            report = audited(
                model,
                strategy,
                payoff,
                anchors,
                self.audit.draws,
                self.here("audit"),
                held_out,
                self.count,
                tuple(loss for loss, _ in taken),
                tuple(norm for _, norm in taken),
            )
            self.reports.append(report)
            residual = report.residual
        self.count += 1
        return Prox(strategy, residual)

    def state(self) -> RealiserState:
        """Return what the next steps depend on."""
        if self._optimiser is None:
            return RealiserState(self.count, 0, {})
        return self._optimiser.state(self.count)

    def restore(self, model: LanguageModel, state: RealiserState) -> None:
        """Go on from a state."""
        self.reports.clear()
        self.count = state.count
        self.optimiser(model).restore(state)
