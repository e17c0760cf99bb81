"""The far end of the wire: HTTP, and the one file that attaches the token."""
