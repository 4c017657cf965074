"""What a user hands over for an execution: checked, and prepared as files without running anything of it."""
