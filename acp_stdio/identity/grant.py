"""The vault's record as text: versioned JSON, since a newer version may have to read it."""

import json
from typing import Final

from acp_stdio.identity.model import Grant
from acp_stdio.secrets import Secret

VERSION: Final = 1


def encode_grant(grant: Grant) -> Secret:
    """The record for the vault; ASCII, so that its size is its length."""
    return Secret(
        json.dumps(
            {
                "v": VERSION,
                "rt": grant.refresh_token.reveal(),
                "iss": grant.issuer,
                "cid": grant.client_id,
                "acct": grant.account_key,
                "at": grant.obtained_at,
                "gen": grant.generation,
                "rot": grant.rotation,
                "place": grant.place,
                "dpop_key": grant.proof_key.reveal() if grant.proof_key else None,
            },
            separators=(",", ":"),
        )
    )


def decode_grant(record: Secret) -> Grant:
    """Raises `ValueError`, which never quotes the record, where it is not one of ours."""
    try:
        data = json.loads(record.reveal())
        if data["v"] != VERSION:
            raise ValueError("the stored sign-in was written by another version")
        return Grant(
            refresh_token=Secret(data["rt"]),
            issuer=data["iss"],
            client_id=data["cid"],
            account_key=data["acct"],
            obtained_at=float(data["at"]),
            generation=int(data["gen"]),
            rotation=int(data["rot"]),
            place=str(data.get("place", "")),
            proof_key=Secret(data["dpop_key"]) if data.get("dpop_key") else None,
        )
    except json.JSONDecodeError:
        raise ValueError("the stored sign-in is not JSON") from None  # its text would quote the record
    except (KeyError, TypeError):
        raise ValueError("the stored sign-in is incomplete") from None
