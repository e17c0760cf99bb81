"""The directories of this user on this platform."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

NAME = "acp-stdio"


@dataclass(frozen=True, slots=True)
class Paths:
    """The four directories; all are created 0700 by whoever writes there first."""

    config: Path
    state: Path
    cache: Path
    log: Path

    @property
    def config_file(self) -> Path:
        return self.config / "config.toml"


def user_paths(environ: Mapping[str, str]) -> Paths:
    """The platform's directories, or four folders below `ACP_STDIO_HOME`."""
    home = environ.get("ACP_STDIO_HOME")
    if home:
        base = Path(home).expanduser().absolute()
        return Paths(base / "config", base / "state", base / "cache", base / "log")
    import platformdirs  # 14 ms that a start with ACP_STDIO_HOME or from the ticket does not pay

    return Paths(
        platformdirs.user_config_path(NAME, appauthor=False),
        platformdirs.user_state_path(NAME, appauthor=False),
        platformdirs.user_cache_path(NAME, appauthor=False),
        platformdirs.user_log_path(NAME, appauthor=False),
    )


def private_dir(path: Path) -> Path:
    """Creates `path` and its missing parents for this user alone, and returns it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path
