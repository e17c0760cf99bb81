"""The pins of one upstream's tools: a file in the state directory that all processes of this user share."""

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final, cast

from acp_stdio.audit.record import utc
from acp_stdio.errors import Failure
from acp_stdio.policy.pins import Definition, Pin, digest, look
from acp_stdio.settings.paths import private_dir
from acp_stdio.vault.lock import FileLock

log = logging.getLogger(__name__)

VERSION: Final = 1
Look = Callable[[Path], os.stat_result]
PATIENCE: Final = 2.0
"""Seconds for the lock, which is held for one reading and one writing."""


class Pins:
    """`<state>/tools/<upstream>-<address>.json`, 0600: what each tool said when it was first seen, and says now."""

    def __init__(self, state_dir: Path, upstream: str, url: str, look: Look = os.stat) -> None:
        """`look`: how `changed` looks at the file."""
        name = f"{upstream}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
        self._look = look
        self._path = state_dir / "tools" / f"{name}.json"
        self._lock = FileLock(state_dir / "tools" / f"{name}.lock")
        self._signature: tuple[int, int, int] | None = None
        self._pins: dict[str, Pin] = {}
        self._changed: dict[str, str] = {}

    @property
    def changed(self) -> dict[str, str]:
        """The tools whose change nobody has accepted, with the digest of what they say now."""
        self._refresh(self._look)
        return self._changed

    def current(self) -> dict[str, Pin]:
        """All pins. Raises `Failure("configuration_invalid")` where their file cannot be read."""
        self._refresh()
        return self._pins

    def observe(self, tools: dict[str, Definition]) -> list[str]:
        """Pins what is new and notes what changed; returns the tools that changed since the last look.

        Where that cannot be written, this process knows it all the same. Raises `Failure("configuration_invalid")`
        where what is written cannot be read.
        """
        self._refresh()
        seen = look(self._pins, tools, utc(time.time()))
        if seen.pins == self._pins:
            return []
        try:
            with self._held():
                self._refresh()
                seen = look(self._pins, tools, utc(time.time()))
                self._write(seen.pins)
        except Failure as failure:
            log.warning("%s", failure.message)
            self._keep(seen.pins)
        return seen.news

    def accept(self, names: list[str]) -> list[str]:
        """Accepts what these tools say now; returns those that had changed. Raises like `observe`."""
        with self._held():
            self._refresh()
            now = utc(time.time())
            done = [name for name in names if name in self._changed]
            accepted = {name: Pin(self._pins[name].changed or {}, now) for name in done}
            if done:
                self._write({**self._pins, **accepted})
        return done

    def _refresh(self, look: Look = os.stat) -> None:
        try:
            facts = look(self._path)
        except FileNotFoundError:
            if self._signature is not None:
                self._signature, self._pins, self._changed = None, {}, {}
            return
        except OSError as error:
            raise _unusable(self._path, error.strerror or "I/O error") from None
        signature = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
        if signature != self._signature:
            self._keep(_load(self._path))
            self._signature = signature

    def _keep(self, pins: dict[str, Pin]) -> None:
        self._pins = pins
        self._changed = {name: digest(pin.changed) for name, pin in pins.items() if pin.changed is not None}

    @contextlib.contextmanager
    def _held(self) -> Generator[None]:
        try:
            private_dir(self._path.parent)
            self._lock.acquire(PATIENCE)
        except OSError as error:  # TimeoutError is one
            raise _unusable(self._path, error.strerror or str(error)) from None
        try:
            yield
        finally:
            self._lock.release()

    def _write(self, pins: dict[str, Pin]) -> None:
        tools = {name: {"accepted": p.accepted, "since": p.since, "changed": p.changed} for name, p in pins.items()}
        draft = self._path.with_suffix(".tmp")
        try:
            with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                json.dump({"version": VERSION, "tools": tools}, file)  # ASCII: half of an emoji is no UTF-8
            os.replace(draft, self._path)
        except OSError as error:
            raise _unusable(self._path, error.strerror or "I/O error") from None
        self._refresh()


def _load(path: Path) -> dict[str, Pin]:
    try:
        data: Any = json.loads(path.read_bytes())
        if data["version"] != VERSION:
            raise ValueError("it was written by another version")
        tools = cast("dict[str, Any]", data["tools"])
        return {
            name: Pin(dict(tool["accepted"]), str(tool["since"]), tool["changed"] and dict(tool["changed"]))
            for name, tool in tools.items()
        }
    except OSError as error:
        raise _unusable(path, error.strerror or "I/O error") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _unusable(path, str(error)) from None


def _unusable(path: Path, why: str) -> Failure:
    return Failure(
        "configuration_invalid",
        f"What the tools said when they were first seen, in {path}, cannot be used: {why}.",
        f"Mend it; or remove {path}, and what the tools say now is taken for right.",
    )
