"""`session.json`: what all processes of one login share. No secrets, one `stat` a look.

Every process compares the session's `generation` with that of the token in its hand before
each call; this file is how a logout reaches them all without a daemon.
"""

import contextlib
import json
import os
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, Final

from acp_stdio.errors import Failure
from acp_stdio.identity.model import Account, Session

VERSION: Final = 1
LOCK_TIMEOUT: Final = 5.0
"""Seconds; this lock is only ever held for a read and a write, never across a network call."""

_PAUSES: Final = (0.01, 0.02, 0.05, 0.1, 0.2)
"""Windows refuses to open or replace a file that another process has open just then."""

_Signature = tuple[int, int, int]
Look = Callable[[Path], os.stat_result]
"""`os.stat`, or something that answers in its place."""


class SessionFile:
    """Reads and writes the session of one sign-in. `session_dir` is `Settings.session_dir`."""

    def __init__(self, session_dir: Path, look: Look = os.stat) -> None:
        """`look`: how `current` looks at the file."""
        self.path: Final = session_dir / "session.json"
        self._look = look
        self.next_path: Final = session_dir / "session.next.json"
        self._seen: _Signature | None = None
        self._session: Session | None = None

    def current(self) -> Session | None:
        """The session now; one look where nothing changed. Raises like `read`."""
        try:
            status = self._look(self.path)
        except FileNotFoundError:
            self._seen = None
            return None
        except OSError as error:
            raise _unreadable(self.path, error.strerror or "I/O error") from None
        signature = (status.st_ino, status.st_mtime_ns, status.st_size)
        if signature != self._seen:
            # The signature is older than the content or equal to it, so a write in between is seen next time.
            self._session = self.read()
            self._seen = signature
        return self._session

    def read(self) -> Session | None:
        """The session on disk; None where nobody ever signed in.

        Raises `Failure` configuration_invalid where the file exists and cannot be understood: it is
        not taken for "signed out", since that would hide a tombstone or a damaged disk.
        """
        return _load(self.path)

    def read_next(self) -> Session | None:
        """The session that a login announced before it stored its grant; None where there is none."""
        return _load(self.next_path)

    def known_generation(self) -> int:
        """The highest one that these files tell, announced ones too; 0 where they tell none.

        A damaged file tells none: a login and a logout are the ways out of that.
        """
        known = [0]
        for look in (self.read, self.read_next):
            with contextlib.suppress(Failure):
                session = look()
                known.append(session.generation if session else 0)
        return max(known)

    def write(self, session: Session) -> None:
        """Replaces the session durably and atomically, 0600. Only while holding `lock()`."""
        _store(self.path, session)

    def write_next(self, session: Session) -> None:
        """Announces `session`, which takes effect with `promote`. Only while holding `lock()`."""
        _store(self.next_path, session)

    def promote(self) -> None:
        """Makes the announced session the session. Only while holding `lock()`."""
        _replace(self.next_path, self.path)

    def forget_next(self) -> None:
        """Drops an announced session. Only while holding `lock()`."""
        with contextlib.suppress(FileNotFoundError):
            self.next_path.unlink()

    def update(self, change: Callable[[Session | None], Session]) -> Session:
        """Replaces the session by `change(session)` under the lock; where that raises, it stays."""
        with self.lock():
            session = change(self.read())
            self.write(session)
        return session

    @contextlib.contextmanager
    def lock(self) -> Generator[None]:
        """Holds the lock over this file, for a read and a write that belong together. Raises `Failure`."""
        from acp_stdio.vault.lock import FileLock  # readers, the hot path, never need it

        lock = FileLock(self.path.with_name("session.lock"))
        try:
            lock.acquire(LOCK_TIMEOUT)
        except TimeoutError:
            raise Failure(
                "timeout",
                f"Another acp-stdio process keeps {self.path} locked.",
                "Try again in a moment; `acp-stdio status` names the processes that run.",
            ) from None
        except OSError as error:
            raise _unwritable(self.path, error) from None
        try:
            yield
        finally:
            lock.release()


def encode(session: Session) -> bytes:
    """The file's content."""
    return json.dumps(session_to_json(session), indent=1).encode() + b"\n"


def session_to_json(session: Session) -> dict[str, Any]:
    return {
        "version": VERSION,
        "generation": session.generation,
        "signed_in": session.signed_in,
        "account": session.account.to_json() if session.account else None,
        "issuer": session.issuer,
        "client_id": session.client_id,
        "client_source": session.client_source,
        "deviations": list(session.deviations),
        "default_endpoints": session.default_endpoints,
        "storage": session.storage,
        "scopes": list(session.scopes),
        "asked": list(session.asked),
        "claims": session.claims,
        "resources": session.resources,
        "obtained_at": session.obtained_at,
        "confirmed_at": session.confirmed_at,
        "in_flight_since": session.in_flight_since,
        "in_flight_rotation": session.in_flight_rotation,
        "access_ttl": session.access_ttl,
        "refresh_expires_at": session.refresh_expires_at,
        "jkt": session.jkt,
        "token_type": session.token_type,
        "ended_at": session.ended_at,
        "ended_because": session.ended_because,
    }


def decode(content: bytes) -> Session:
    """The session in `content`. Raises `ValueError` for anything else; unknown keys are ignored."""
    return session_from_json(json.loads(content))


def session_from_json(data: Any) -> Session:
    """Raises as `decode`."""
    try:
        if data["version"] != VERSION:
            raise ValueError(f"version {data['version']!r} is not known here")
        return Session(
            generation=int(data["generation"]),
            signed_in=data["signed_in"] is True,
            account=Account.from_json(data["account"]) if data["account"] else None,
            issuer=str(data["issuer"]),
            client_id=str(data["client_id"]),
            client_source=str(data.get("client_source", "configured")),
            deviations=tuple(str(deviation) for deviation in data.get("deviations", ())),
            default_endpoints=data.get("default_endpoints") is True,
            storage=str(data["storage"]),
            scopes=tuple(str(scope) for scope in data["scopes"]),
            asked=tuple(str(scope) for scope in data.get("asked", ())),
            claims=str(data.get("claims", "")),
            resources={str(name): str(resource) for name, resource in data["resources"].items()},
            obtained_at=float(data["obtained_at"]),
            confirmed_at=float(data["confirmed_at"]),
            in_flight_since=float(data["in_flight_since"]),
            in_flight_rotation=int(data.get("in_flight_rotation", -1)),
            access_ttl=float(data.get("access_ttl", 0.0)),
            refresh_expires_at=float(data.get("refresh_expires_at", 0.0)),
            jkt=str(data.get("jkt", "")),
            token_type=str(data.get("token_type", "")),
            ended_at=float(data["ended_at"]),
            ended_because=str(data["ended_because"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _load(path: Path) -> Session | None:
    for pause in (*_PAUSES, None):
        try:
            return decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except PermissionError as error:
            if os.name != "nt" or pause is None:
                raise _unreadable(path, error.strerror or "no permission") from None
            time.sleep(pause)
        except OSError as error:
            raise _unreadable(path, error.strerror or "I/O error") from None
        except ValueError as error:
            raise _unreadable(path, str(error)) from None
    raise AssertionError("the last pause is None")


def _store(path: Path, session: Session) -> None:
    try:
        _write(path, session)
    except OSError as error:
        raise _unwritable(path, error) from None


def _write(path: Path, session: Session) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()  # left by a writer that was killed; the lock says nobody else is writing
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(encode(session))
        file.flush()
        os.fsync(file.fileno())
    _replace(temporary, path)


def _replace(source: Path, target: Path) -> None:
    for pause in (*_PAUSES, None):
        try:
            os.replace(source, target)
            break
        except PermissionError:
            if os.name != "nt" or pause is None:
                raise
            time.sleep(pause)
    if os.name != "nt":
        directory = os.open(target.parent, os.O_RDONLY)  # the new name must survive a power cut, too
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _unreadable(path: Path, why: str) -> Failure:
    return Failure(
        "configuration_invalid",
        f"The sign-in state in {path} cannot be read ({why}), so it is not known whether you are signed in.",
        f"Move {path} away and run `acp-stdio login`.",
    )


def _unwritable(path: Path, error: OSError) -> Failure:
    return Failure(
        "configuration_invalid",
        f"The sign-in state in {path} cannot be written: {error.strerror or 'I/O error'}.",
        f"Make room and see that {path.parent} belongs to you.",
    )
