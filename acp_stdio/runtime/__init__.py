"""The program: composition, task tree, signals, shutdown."""
