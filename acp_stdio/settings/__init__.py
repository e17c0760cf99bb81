"""What the user wants: configuration layers and directories."""
