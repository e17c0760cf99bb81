"""Getting a grant with a human: browser with PKCE, or device."""
