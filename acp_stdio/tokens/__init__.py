"""A fresh token for an audience, without a human: the one refresh path."""
