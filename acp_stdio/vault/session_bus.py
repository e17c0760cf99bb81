"""The D-Bus session that a Secret Service is reached by, and a look at it that asks nobody anything.

Hosts start servers with a few variables only (HOME, PATH, USER, …): without the bus's address
the keyring would seem to be absent although `login` in a terminal found it.
"""

import os
import stat
import time
from collections.abc import MutableMapping
from importlib import import_module
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from acp_stdio.errors import Failure

ADDRESS: Final = "DBUS_SESSION_BUS_ADDRESS"
ANSWER_WITHIN: Final = 3.0
"""Seconds for an answer where nobody is asked; a healthy keyring takes 5 to 30 ms."""
_LOOKS: Final = (0.0, 0.05, 0.1, 0.15, 0.2)
"""Seconds before each look for the default collection: a daemon that rewrites its files has none for a moment."""
_OBJECT: Final = "/org/freedesktop/secrets"
_SERVICE: Final = "org.freedesktop.secrets"
_INTERFACE: Final = "org.freedesktop.Secret"
FILE_STORE: Final = '[storage] backend = "file" with key_file in the configuration'
"""The way out of a machine without a keyring, which only its owner may choose."""


def repair_address(environ: MutableMapping[str, str], run_user: Path = Path("/run/user")) -> None:
    """Names the session bus in `environ` where it is missing and its usual socket is there and ours."""
    if environ.get(ADDRESS):
        return
    places = [run_user / str(os.getuid()) / "bus"]
    if runtime := environ.get("XDG_RUNTIME_DIR"):
        places.insert(0, Path(runtime) / "bus")
    for place in places:
        if _is_our_socket(place):
            environ[ADDRESS] = f"unix:path={quote(str(place), safe='/-_.')}"
            return


def look(*, may_prompt: bool) -> str:
    """The path of the Secret Service's default collection, which is unlocked, without opening a prompt.

    With `may_prompt` a locked or missing (then: no path) collection is fine: using it lets the service
    ask the person. Raises `Failure("keyring_locked")`, or `TimeoutError` after `ANSWER_WITHIN` seconds.
    """
    repair_address(os.environ)
    if not os.environ.get(ADDRESS):
        raise Failure(
            "keyring_locked",
            f"There is no keyring: no D-Bus session is running here ({ADDRESS} is not set).",
            f"Run it in your desktop session, or choose the encrypted file: {FILE_STORE}.",
        )
    blocking: Any = import_module("jeepney.io.blocking")
    try:
        with blocking.open_dbus_connection(auth_timeout=ANSWER_WITHIN) as connection:
            collection = _default_collection(connection)
            state = _state(connection, collection)
    except (TimeoutError, Failure):
        raise
    except (OSError, RuntimeError, ValueError, StopIteration) as e:  # refused, gone, not ours, no address
        raise Failure(
            "keyring_locked",
            f"There is no keyring: the D-Bus session at {ADDRESS} cannot be reached ({type(e).__name__}).",
            f"Log in to your desktop session again, or choose the encrypted file: {FILE_STORE}.",
        ) from None
    if state and not may_prompt:
        raise Failure(
            "keyring_locked",
            state,
            f"Unlock it, or run `acp-stdio login`, which may ask; without a desktop choose {FILE_STORE}.",
        )
    return collection


def _default_collection(connection: Any) -> str:
    """Its path; empty where there is none, also after a few looks."""
    jeepney: Any = import_module("jeepney")
    service = jeepney.DBusAddress(_OBJECT, bus_name=_SERVICE, interface=f"{_INTERFACE}.Service")
    for pause in _LOOKS:
        time.sleep(pause)
        collection = _answer(connection, jeepney.new_method_call(service, "ReadAlias", "s", ("default",)))[0]
        if collection != "/":
            return str(collection)
    return ""


def _state(connection: Any, collection: str) -> str:
    """Empty for an unlocked collection, else what is the matter, in a sentence."""
    jeepney: Any = import_module("jeepney")
    if not collection:
        return "The keyring has no default collection yet, and making one asks for a pass phrase."
    place = jeepney.DBusAddress(collection, bus_name=_SERVICE, interface=f"{_INTERFACE}.Collection")
    locked = _answer(connection, jeepney.Properties(place).get("Locked"))[0][1]
    return "The keyring is locked." if locked else ""


def _answer(connection: Any, message: Any) -> Any:
    jeepney: Any = import_module("jeepney")
    reply = connection.send_and_get_reply(message, timeout=ANSWER_WITHIN)
    if reply.header.message_type is not jeepney.MessageType.error:
        return reply.body
    name = str(reply.header.fields.get(jeepney.HeaderFields.error_name, "an error without a name"))
    if name.endswith((".ServiceUnknown", ".NameHasNoOwner")):
        raise Failure(
            "keyring_locked",
            "There is no keyring: no Secret Service runs in this D-Bus session.",
            f"Install one such as gnome-keyring, or choose the encrypted file: {FILE_STORE}.",
        )
    raise Failure(
        "keyring_locked",
        f"The keyring's Secret Service does not work: it answers {name}.",
        f"Restart it by logging in again, or choose the encrypted file: {FILE_STORE}.",
    )


def _is_our_socket(path: Path) -> bool:
    try:
        facts = path.lstat()
    except OSError:
        return False
    return stat.S_ISSOCK(facts.st_mode) and facts.st_uid == os.getuid()
