"""What realisers that train share: the optimiser, the count of steps, and the audits."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field

from nlhf.errors import HypothesisViolated
from nlhf.lm.draws import Draws, Sampled
from nlhf.lm.model import LanguageModel
from nlhf.lm.payoffs import ResponsePayoff
from nlhf.lm.realisers.audit import audited
from nlhf.lm.realisers.base import UNKNOWN, Anchors, Blending, RealiserState, Report, blended
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


class TrainedRealiser(ABC):
    """A realiser that takes gradient steps, and remembers its optimiser between proximal steps.

    Args:
        stream: Randomness of all its draws.
        optimisation: Gradient steps.
        draws: The responses that the steps are taken on.
        audit: How steps are measured on the new strategy's own responses; by default each is.
        blending: How steps without a payoff are played.
    """

    def __init__(
        self,
        stream: Stream,
        optimisation: Optimisation,
        draws: Draws,
        audit: Audit | None,
        blending: Blending | None,
    ) -> None:
        self.stream, self.optimisation, self.draws = stream, optimisation, draws
        self.audit = Audit() if audit is None else audit
        self.blending = Blending() if blending is None else blending
        self._reports: list[Report] = []
        self._count = 0
        self._optimiser: Optimiser | None = None

    @property
    def reports(self) -> Sequence[Report]:
        """What was measured of the steps since the last `restore`, oldest first."""
        return self._reports

    def realise(
        self, model: LanguageModel, payoff: ResponsePayoff | None, anchors: Anchors
    ) -> Prox[Strategy]:
        """Return the trained strategy, or without a payoff the geometric mixture.

        Raises:
            HypothesisViolated: If no anchor is a checkpoint to train from.
            NotAllowed: If a loss or a gradient is not finite.
        """
        if payoff is None:
            return blended(anchors, self.blending)
        return self._train(model, payoff, anchors)

    @abstractmethod
    def _train(
        self, model: LanguageModel, payoff: ResponsePayoff, anchors: Anchors
    ) -> Prox[Strategy]:
        """Return the strategy that the gradient steps of one proximal step lead to."""

    def _here(self, name: str) -> Stream:
        """Return this step's randomness of a name."""
        return self.stream.child(name, self._count)

    def _due(self) -> bool:
        """Return whether this step is audited."""
        return self._count % self.audit.every == 0

    def _optimiser_of(self, model: LanguageModel) -> Optimiser:
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

    def _finish(
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
        if self._due():
            report = audited(
                model,
                strategy,
                payoff,
                anchors,
                self.audit.draws,
                self._here("audit"),
                held_out,
                self._count,
                tuple(loss for loss, _ in taken),
                tuple(norm for _, norm in taken),
            )
            self._reports.append(report)
            residual = report.residual
        self._count += 1
        return Prox(strategy, residual)

    def state(self) -> RealiserState:
        """Return what the next steps depend on."""
        if self._optimiser is None:
            return RealiserState(self._count, 0, {})
        return self._optimiser.state(self._count)

    def restore(self, model: LanguageModel, state: RealiserState) -> None:
        """Go on from a state."""
        self._reports.clear()
        self._count = state.count
        self._optimiser_of(model).restore(state)
