"""What an upstream offers, remembered for the next start. No token in it."""
