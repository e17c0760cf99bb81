"""A D-Bus session with a made-up Secret Service: what it answers is the test's choice."""

from importlib import import_module
from typing import Any, Final

import pytest

from acp_stdio.vault.session_bus import ADDRESS

jeepney: Any = import_module("jeepney")

COLLECTION: Final = "/org/freedesktop/secrets/collection/login"


class FakeBus:
    """Stands where `jeepney.io.blocking` opens its connections."""

    def __init__(self, *aliases: str, locked: bool = False) -> None:
        """`aliases`: what the default collection is from one question to the next; the last one stays."""
        self._aliases = list(aliases)
        self._locked = locked
        self.asked = 0
        """How often for the default collection."""

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """Leads this process to it."""
        patch.setenv(ADDRESS, "unix:path=/made-up")

        def connection(*, auth_timeout: float) -> "FakeBus":
            assert auth_timeout > 0
            return self

        patch.setattr("jeepney.io.blocking.open_dbus_connection", connection)

    def __enter__(self) -> "FakeBus":
        return self

    def __exit__(self, *_: object) -> None: ...

    def send_and_get_reply(self, message: Any, *, timeout: float) -> Any:
        """The answer to `ReadAlias` or to the question for `Locked`."""
        assert timeout > 0
        message.header.serial = 1
        if message.header.fields[jeepney.HeaderFields.member] == "ReadAlias":
            self.asked += 1
            found = self._aliases.pop(0) if len(self._aliases) > 1 else self._aliases[0]
            return jeepney.new_method_return(message, "o", (found,))
        assert message.header.fields[jeepney.HeaderFields.path] == COLLECTION
        return jeepney.new_method_return(message, "v", (("b", self._locked),))
