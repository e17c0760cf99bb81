"""A terminal that cannot show a letter is no reason to fail."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_result_with_letters_that_the_encoding_lacks_is_still_printed(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "acp_stdio", "status"],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "ACP_STDIO_HOME": str(tmp_path / "müller")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert "m?ller" in done.stderr or "m\\xfcller" in done.stderr
    assert "Traceback" not in done.stderr
