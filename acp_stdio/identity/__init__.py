"""Who the person is, as values: grants, sessions, access tokens, claim checks. No I/O."""
