"""Is this machine ready? Checks of everything real that a call will need."""
