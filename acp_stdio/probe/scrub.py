"""Keeps the tokens of a check out of its report: a server may repeat what it was sent."""

from collections.abc import Iterable

from acp_stdio.secrets import Secret


def without(text: str, tokens: Iterable[Secret]) -> str:
    """`text` with dots where one of the tokens stood."""
    for token in tokens:
        text = text.replace(token.reveal(), "•••")
    return text


def holds(text: str, tokens: Iterable[Secret]) -> bool:
    """Whether one of the tokens stands in `text`."""
    return any(token.reveal() in text for token in tokens)
