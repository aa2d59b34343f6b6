"""The page and its Markdown, from records alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from nlhf.errors import InvalidData
from nlhf.files import replace_file
from nlhf.reporting import typeset
from nlhf.reporting.origin import Origin
from nlhf.reporting.plots import tightness
from nlhf.reporting.prose import marked, pieces
from nlhf.theorems import Citation, Difference, Record, Reference, Theorem, Verdict

PAGE, MARKDOWN = "index.html", "report.md"


@dataclass(frozen=True, slots=True)
class Texts:
    """What a report says besides what was found.

    Attributes:
        references: The bibliography; a source that it lacks is named by its key.
        differences: Where the ledger differs from the list that it was written from.
    """

    references: Mapping[str, Reference]
    differences: Sequence[Difference]


def require_typeset(theorems: Sequence[Theorem[Any]]) -> None:
    """See that all that theorems say can be set, before time is spent on checking them.

    Raises:
        InvalidData: If a text holds LaTeX that cannot be set, or dollars that do not pair.
    """
    for theorem in theorems:
        texts = [theorem.statement, *(hypothesis.text for hypothesis in theorem.hypotheses)]
        texts += [citation.item for citation in theorem.sources]
        texts += [theorem.counterexample.text] if theorem.counterexample else []
        for text in texts:
            try:
                typeset.html(pieces(text))
            except InvalidData as error:
                found = f"{theorem.key} cannot be set: {error.found}"
                raise InvalidData(found, error.fix) from error


def write_report(
    records: Sequence[Record], texts: Texts, origin: Origin, folder: Path
) -> tuple[Path, Path]:
    """Write a report as one HTML page that needs nothing else, and as Markdown.

    Args:
        records: What was found, in the order of the page.
        texts: References and differences.
        origin: Where and when.
        folder: Where the files go; it exists.

    Returns:
        The paths of the page and of the Markdown.

    Raises:
        InvalidData: If a text of the ledger holds LaTeX that cannot be set.
        NotAllowed: If a file cannot be written.
    """
    written = folder / PAGE, folder / MARKDOWN
    replace_file(written[0], html_page(records, texts, origin))
    replace_file(written[1], markdown_page(records, texts, origin))
    return written


def html_page(records: Sequence[Record], texts: Texts, origin: Origin) -> str:
    """Return a report as an HTML document without a reference to anything outside it."""
    from markupsafe import Markup

    environment = _environment(escaping=True)
    environment.filters["typeset"] = lambda text: Markup(typeset.html(pieces(text)))
    environment.filters["reference"] = lambda text: Markup(typeset.html(marked(text)))
    environment.filters["plot"] = lambda record: Markup(tightness(record))
    return _rendered(environment, "page.html.jinja", records, texts, origin)


def markdown_page(records: Sequence[Record], texts: Texts, origin: Origin) -> str:
    """Return a report as Markdown, without the plots."""
    environment = _environment(escaping=False)
    environment.filters["typeset"] = lambda text: typeset.markdown(pieces(text))
    environment.filters["reference"] = lambda text: typeset.markdown(marked(text))
    environment.filters["plain"] = typeset.plain
    return _rendered(environment, "report.md.jinja", records, texts, origin)


def _environment(*, escaping: bool) -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("nlhf.reporting", "."),
        autoescape=escaping,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = _number
    return environment


def _rendered(
    environment: Any, template: str, records: Sequence[Record], texts: Texts, origin: Origin
) -> str:
    def cited(citation: Citation) -> str:
        return str(texts.references.get(citation.key, citation.key))

    keys = {record.key for record in records}
    verdicts = Counter(record.verdict for record in records)
    text: str = environment.get_template(template).render(
        records=records,
        origin=origin,
        cited=cited,
        keys=keys,
        differences=[item for item in texts.differences if keys.intersection(item.ours)],
        verdicts=[(verdict, verdicts[verdict]) for verdict in Verdict],
        unexpected=[record for record in records if not record.as_expected],
    )
    return text


def _number(value: float) -> str:
    return f"{value:.3g}" if isfinite(value) else "none"
