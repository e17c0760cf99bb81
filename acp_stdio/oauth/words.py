"""A stranger's words, made fit for a terminal and a log."""


def plain(text: str, limit: int = 200) -> str:
    """Printable, on one line, at most `limit` characters."""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words if len(words) <= limit else words[: limit - 1] + "…"
