"""What the tests' second identity provider is made of; see `django_idp.py` beside it."""

from typing import Any

asked: list[dict[str, Any]] = []
"""Path and status of each request, oldest first."""
