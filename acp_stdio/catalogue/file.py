"""The catalogue on disk: two small files an upstream, 0600, no token in them, wiped by logout."""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from acp_stdio.catalogue.model import Catalogue, current, is_handshake


class CatalogueFile:
    """One upstream's catalogue. The handshakes have a file of their own, which a start reads first."""

    def __init__(self, cache_dir: Path, upstream: str, url: str) -> None:
        name = f"{upstream}-{hashlib.sha256(url.encode()).hexdigest()[:12]}"
        self.handshakes = cache_dir / f"{name}.handshakes.json"
        self.lists = cache_dir / f"{name}.lists.json"

    def load(self) -> Catalogue:
        """What is remembered; nothing where there is no file, or one that cannot be read."""
        found: Catalogue = {}
        for path in (self.handshakes, self.lists):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                found |= {key: text.encode() for key, text in json.loads(path.read_bytes()).items()}
        return found

    def save(self, catalogue: Catalogue) -> None:
        """Adds to both files, each replaced at once. A full disk loses nothing but the quick start."""
        catalogue = current(self.load() | catalogue)
        for path, handshakes in ((self.handshakes, True), (self.lists, False)):
            part = {k: v.decode() for k, v in catalogue.items() if is_handshake(k) is handshakes}
            with contextlib.suppress(OSError, UnicodeDecodeError):
                _replace(path, json.dumps(part).encode())

    def forget(self) -> None:
        """Removes both files."""
        self.handshakes.unlink(missing_ok=True)
        self.lists.unlink(missing_ok=True)


def _replace(path: Path, content: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}.tmp")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        os.replace(draft, path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
