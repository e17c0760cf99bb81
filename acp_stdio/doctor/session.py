"""The sign-in: whether somebody is signed in, and whether what was stored for them is still there."""

import time

from acp_stdio.audit.record import utc
from acp_stdio.doctor.check import Case
from acp_stdio.doctor.finding import Finding, failed, ok, problem, warning
from acp_stdio.identity.binding import BOUND
from acp_stdio.identity.model import Session
from acp_stdio.identity.proof import ProofKey
from acp_stdio.settings.model import Settings
from acp_stdio.tokens.context import open_context
from acp_stdio.tokens.endings import elsewhere, is_ours, misbound, signed_out, too_old, unless_withdrawn
from acp_stdio.tokens.session_file import SessionFile
from acp_stdio.tokens.sign_ins import serves
from acp_stdio.vault.lock import FileLock

_AGAIN = "Run `acp-stdio login --force`."


def probe(case: Case) -> Finding:
    """Reads what all processes share. Raises `Failure` where it cannot be read."""
    session = unless_withdrawn(SessionFile(case.settings.session_dir).read(), case.settings.revoked.__contains__)
    if session is None or not session.signed_in:
        return failed(signed_out(session), **_facts(session))
    if doubt := _doubt(session, case.settings):
        return doubt
    who = session.account.label if session.account else "somebody"
    bound = ", with tokens that are bound to its key" if session.token_type == BOUND else ""
    return ok(f"signed in as {who}{bound}, confirmed by the provider {_ago(session.confirmed_at)}", **_facts(session))


def stored(case: Case) -> Finding:
    """The refresh token is where the session says, and belongs to it. It is read and not used."""
    context = open_context(case.settings, may_prompt=case.may_prompt)
    session = context.session.read()
    grant = context.vault.load()
    if grant is None or session is None:
        message = f"The sign-in is not in {context.vault.describe()} any more."
        return problem("login_required", message, _AGAIN)
    if not is_ours(grant, context.place):
        return failed(elsewhere())
    if grant.generation != session.generation:
        message = f"What {context.vault.describe()} holds is of another sign-in than the session."
        return problem("login_required", message, _AGAIN, stored=grant.generation, session=session.generation)
    if session.jkt != (ProofKey(grant.proof_key).thumbprint if grant.proof_key else ""):
        message = f"The key that the tokens are bound to is not in {context.vault.describe()} any more."
        return problem("login_required", message, _AGAIN, jkt=session.jkt)
    return ok(f"in {context.vault.describe()}, generation {grant.generation}", rotation=grant.rotation)


def _doubt(session: Session, settings: Settings) -> Finding | None:
    facts = _facts(session)
    configured = settings.identity
    if unfit := too_old(session, configured.max_session_age, time.time()) or misbound(session, configured.dpop):
        return failed(unfit)
    same = configured.issuer in ("", session.issuer) and configured.client_id in ("", session.client_id)
    if not same:
        return warning(
            f"The sign-in is with {session.issuer} as {session.client_id}, "
            f"the configuration names {configured.issuer} as {configured.client_id}.",
            _AGAIN,
            **facts,
        )
    if missing := [name for name, each in settings.upstreams.items() if not serves(session, each)]:
        return warning(f"The sign-in did not ask for {', '.join(missing)}.", _AGAIN, **facts)
    if session.in_flight_since and _nobody_renews(settings):
        return warning(
            f"A renewal was broken off {_ago(session.in_flight_since)}: the provider may have used up the sign-in.",
            "Run `acp-stdio status --check`, which finds out.",
            **facts,
        )
    return None


def _nobody_renews(settings: Settings) -> bool:
    lock = FileLock(settings.session_dir / "refresh.lock")
    if not lock.try_acquire():
        return False
    lock.release()
    return True


def _facts(session: Session | None) -> dict[str, object]:
    if session is None:
        return {"signed_in": False}
    return {
        "signed_in": session.signed_in,
        "account": session.account.label if session.account else "",
        "generation": session.generation,
        "confirmed_at": utc(session.confirmed_at) if session.confirmed_at else None,
        "in_flight_since": utc(session.in_flight_since) if session.in_flight_since else None,
        "ended_because": session.ended_because,
        "storage": session.storage,
        "token_type": session.token_type,
        "jkt": session.jkt,
    }


def _ago(then: float) -> str:
    seconds = max(0, round(time.time() - then))
    if seconds < 120:
        return f"{seconds} s ago"
    return f"{seconds // 60} min ago" if seconds < 7200 else f"{seconds // 3600} h ago"
