"""A string that must not be printed."""

from typing import NoReturn


class Secret:
    """Holds a token, code or key and shows dots wherever text is made of it.

    `reveal` is called where a secret leaves the program for its one purpose, and nowhere
    else; `tests/architecture/test_secret_sites.py` lists those places.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(•••)"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled")
