"""May it? Rules as values, and decisions. Pure: what is asked, by whom and when is given."""
