"""Signs the trail while the keyring is at hand, after a renewal, a login or a logout; what is too old goes first."""

from acp_stdio.errors import Failure
from acp_stdio.tokens.context import Context


def sign_trail(ctx: Context) -> str:
    """Removes what is older than `retention`, and signs where the trail stands. What kept it from that, or "".

    Whatever goes wrong: no call, login or logout fails for it, and the next one signs what was left.
    """
    from acp_stdio.audit.checkpoint import Altered, sign
    from acp_stdio.audit.delivery import is_delivered
    from acp_stdio.audit.folder import Folder
    from acp_stdio.audit.retention import remove_old
    from acp_stdio.vault.device_key import device_key

    try:
        folder, audit = Folder(ctx.settings.audit_dir), ctx.settings.audit
        if audit.deliver == "required":
            remove_old(folder, audit.retention, is_delivered(folder))
        else:
            remove_old(folder, audit.retention)
        sign(folder, device_key(ctx.open_vault(), ctx.settings.paths.state))
    except Altered as altered:
        return f"The audit trail was not signed: {altered}. `acp-stdio audit verify` says more."
    except Failure as failure:
        return f"The audit trail was not signed: {failure.message}"
    except OSError as error:
        return f"The audit trail was not signed: {error.strerror or error}."
    return ""
