"""Secrets at rest: the OS keyring, the explicit encrypted file, and their lock."""
