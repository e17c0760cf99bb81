"""What `login` and `status` say about the end of a sign-in that nobody ends."""

import pytest

from acp_stdio.cli.common import end_words
from acp_stdio.cli.times import local
from acp_stdio.identity.model import Session

NOW = 1_795_459_327.0


@pytest.mark.parametrize(
    ("refresh_ends", "max_session_age", "end", "whose"),
    [
        (0.0, 0.0, 0.0, ""),
        (NOW + 600, 0.0, NOW + 600, "says your provider; a renewal may move that"),
        (0.0, 900.0, NOW + 900, "max_session_age"),
        (NOW + 600, 900.0, NOW + 600, "says your provider; a renewal may move that"),
        (NOW + 6000, 900.0, NOW + 900, "max_session_age"),
    ],
)
def test_the_first_end_that_anybody_names_is_said_and_who_names_it(
    refresh_ends: float, max_session_age: float, end: float, whose: str
) -> None:
    session = Session(generation=1, signed_in=True, account=None, obtained_at=NOW, refresh_expires_at=refresh_ends)
    assert end_words(session, max_session_age) == (f"{local(end)} ({whose})" if end else "")
