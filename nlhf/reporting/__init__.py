"""The report of a verification: one page that needs nothing else, and the same in Markdown."""

from nlhf.reporting.origin import Origin, origin
from nlhf.reporting.page import (
    Texts,
    html_page,
    markdown_page,
    require_typeset,
    write_report,
)

__all__ = [
    "Origin",
    "Texts",
    "html_page",
    "markdown_page",
    "origin",
    "require_typeset",
    "write_report",
]
