"""Holding a trail against a server's log: what `check-backend` asked is known for what it was."""

from acp_stdio.audit.join import join

CHECK = "01a21567-b093-74a0-82d5-b32b886f578a"
OTHER = "01a21567-b093-74a0-82d5-b32b886f578b"


def line(request: str) -> str:
    return f"user=sarah tool=report request={request} outcome=ok"


def test_what_check_backend_asked_is_no_call_that_goes_round_the_trail() -> None:
    joined = join([{"event": "backend.check", "id": CHECK}], [line(CHECK), line(OTHER)])
    assert joined.only_backend == [line(OTHER)]
    assert not joined.matched
    assert not joined.only_local
