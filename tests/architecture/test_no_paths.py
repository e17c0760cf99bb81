"""Nothing that is tracked says on which machine it was made or where its packages came from."""

import subprocess
from pathlib import Path

from tests.architecture.walk import ROOT


def joined(*words: str, by: str) -> bytes:
    """A needle that this file does not hold itself."""
    return by.join(words).encode()


NEEDLES = [
    joined("pypi", "org", by="."),
    joined("pythonhosted", "org", by="."),
    joined("registry", "npmjs", "org", by="."),
    joined("registry", "yarnpkg", "com", by="."),
    joined("npmmirror", "com", by="."),
    joined("deb", "debian", "org", by="."),
    joined("archive", "ubuntu", "com", by="."),
    joined("", "root", "", by="/"),
    joined("", "work", "", by="/"),
    joined("", "tmp", "e", "", by="/"),
    joined("", "home", "runner", by="/"),
]


def tracked() -> list[Path]:
    """The files that git would hand on; without git, every file outside of what tools make."""
    made = {".git", ".venv", "node_modules", "__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis"}
    if (ROOT / ".git").exists():
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        files = [ROOT / name for name in listed.decode().split("\0") if name]
    else:
        files = [path for path in ROOT.rglob("*") if not made & set(path.parts)]
    return [path for path in files if path.is_file()]


def named(content: bytes) -> list[str]:
    return [needle.decode() for needle in NEEDLES if needle in content]


def test_no_tracked_file_names_a_machine_or_a_registry() -> None:
    assert not {path.relative_to(ROOT).as_posix(): found for path in tracked() if (found := named(path.read_bytes()))}


def test_a_planted_name_is_found() -> None:
    assert named(b"resolved https://" + NEEDLES[2] + b"/a.tgz") == [NEEDLES[2].decode()]
