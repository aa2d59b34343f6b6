"""Names from data as text for people: any string is safe to print or draw."""


def printable(name: str) -> str:
    """Return the name with control characters, separators and lone surrogates escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in name)


def label(name: str, most: int) -> str:
    """Return the printable name in at most `most` characters.

    The middle is cut out: names often differ at their ends.
    """
    text = printable(name)
    if len(text) <= most:
        return text
    tail = most // 3
    return text[: most - 1 - tail] + "…" + text[len(text) - tail :]
