"""Talking to the identity provider: discovery, token endpoint, presets."""
