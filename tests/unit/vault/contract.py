"""What every vault promises. A test class inherits from `VaultContract` and gives the fixture `open_again`."""

import string
from collections.abc import Callable

import pytest

from acp_stdio.secrets import Secret
from acp_stdio.vault.store import Vault

OpenAgain = Callable[[], Vault]
"""A vault on the same store, as another process would open it."""

KEY = "login.example.com/default/1f2e3d4c"
VALUES = {
    "plain": "rt-0123456789",
    "empty": "",
    "unicode": "Grüße, 世界, 🔑, ‮, \x00, \n\t\"'\\ %d {} ",
    "limit of one piece": "x" * 1198,
    "one more": "x" * 1199,
    "9 kB": (string.ascii_letters + string.digits + "-._~") * 137,
    "9 kB of what takes most room": "🔑" * 2250,
}


class VaultContract:
    """Inherit, and define the fixture `open_again`."""

    @pytest.fixture
    def open_again(self) -> OpenAgain:
        raise AssertionError("the class that inherits says which vault")

    @pytest.fixture
    def vault(self, open_again: OpenAgain) -> Vault:
        return open_again()

    def test_it_says_what_it_is_and_that_it_can_be_used(self, vault: Vault) -> None:
        vault.probe()
        assert vault.name
        assert vault.describe()

    @pytest.mark.parametrize("text", VALUES.values(), ids=VALUES.keys())
    def test_what_was_saved_comes_back_in_another_process(self, open_again: OpenAgain, text: str) -> None:
        open_again().save(KEY, Secret(text))
        assert open_again().load(KEY) == Secret(text)

    @pytest.mark.parametrize("sizes", [(9000, 10, 3000), (10, 9000, 10), (3000, 3000, 3000)], ids=str)
    def test_the_last_of_several_values_counts(self, open_again: OpenAgain, sizes: tuple[int, ...]) -> None:
        vault = open_again()
        for number, size in enumerate(sizes):
            vault.save(KEY, Secret(str(number) * size))
            assert open_again().load(KEY) == Secret(str(number) * size)

    def test_what_is_not_there_is_none_and_not_an_error(self, vault: Vault) -> None:
        assert vault.load(KEY) is None

    def test_deleting_twice_says_so_and_is_no_error(self, open_again: OpenAgain) -> None:
        vault = open_again()
        vault.save(KEY, Secret("x" * 3000))
        assert vault.delete(KEY) is True
        assert vault.delete(KEY) is False
        assert open_again().load(KEY) is None

    def test_keys_do_not_touch_each_other(self, vault: Vault) -> None:
        vault.save(KEY, Secret("one"))
        vault.save(KEY + "/2", Secret("two"))
        assert vault.delete(KEY)
        assert vault.load(KEY) is None
        assert vault.load(KEY + "/2") == Secret("two")
