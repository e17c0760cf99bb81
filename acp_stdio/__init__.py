"""A stdio MCP proxy that sends every call with the signed-in person's own token."""

__version__ = "0.1.0"
