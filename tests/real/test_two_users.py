"""Two users of one computer: nothing of one's sign-in is there for the other to read."""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.kit import leaks
from tests.kit.oidc_provider import OidcProvider, oidc_provider
from tests.kit.signing_in import Machine, mcp_server

pytestmark = [pytest.mark.real, pytest.mark.skipif(os.name != "posix", reason="POSIX users and modes")]

NOBODY = 65534


@contextlib.contextmanager
def another_user() -> Generator[None]:
    """As `nobody`, by the effective ids: nothing has to be executable for that user. Only root can."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


def opened(home: Path) -> set[Path]:
    """The files below `home` that whoever we are now can read."""
    found: set[Path] = set()
    for folder, _, names in os.walk(home):
        for name in names:
            with contextlib.suppress(OSError), Path(folder, name).open("rb"):
                found.add(Path(folder, name).relative_to(home))
    return found


def open_by_mode(home: Path) -> set[Path]:
    """The same for another user, as the modes say."""
    found: set[Path] = set()
    for folder, inside, names in os.walk(home):
        inside[:] = [each for each in inside if Path(folder, each).stat().st_mode & stat.S_IXOTH]
        found |= {
            path.relative_to(home) for each in names if (path := Path(folder, each)).stat().st_mode & stat.S_IROTH
        }
    return found


@pytest.fixture
def home() -> Iterator[Path]:
    """A home that everybody may look into, as some systems make them; pytest's folders are closed as they are."""
    folder = Path(tempfile.mkdtemp(prefix="acp-two-users-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def idp() -> Iterator[OidcProvider]:
    with oidc_provider() as provider:
        yield provider
        leaks.remember(*provider.issued())


def test_another_user_reads_neither_grant_nor_session_nor_trail(home: Path, idp: OidcProvider) -> None:
    before = os.umask(0o022)
    try:
        with mcp_server(idp.issuer, idp.add_resource) as upstream:
            machine = Machine(home, idp.issuer, upstream)
            done = machine.run("login")
        assert done.returncode == 0, done.stderr
    finally:
        os.umask(before)
    written = {path.relative_to(home) for path in home.rglob("*") if path.is_file()}
    kinds = {("vault", ".sealed"), ("session.json", ".json"), ("audit", ".jsonl"), ("cache", ".json")}
    for part, suffix in kinds:
        assert [path for path in written if part in path.parts and path.suffix == suffix], (part, written)
    seen = open_by_mode(home)
    if os.getuid() == 0:
        with another_user():
            assert opened(home) == seen
    assert Path("config/config.toml") in seen, "the look is a real one: what is open is seen"
    closed = [path for path in seen if path.parts[0] in ("state", "cache", "log", "store.key")]
    assert closed in ([], [Path("state/device-key.json")]), "the public half of this computer's key is for others"
