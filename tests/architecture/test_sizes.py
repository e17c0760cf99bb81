"""Modules stay small enough to be read at one sitting."""

from tests.architecture.walk import modules, shown

MOST_LINES = 350


def test_every_module_can_be_read_at_one_sitting() -> None:
    lengths = {shown(path): len(path.read_text(encoding="utf-8").splitlines()) for path in modules()}
    assert not {name: length for name, length in lengths.items() if length > MOST_LINES}
