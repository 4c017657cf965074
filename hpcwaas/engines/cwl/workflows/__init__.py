"""What is published: its files, what they declare, who may run it, and a copy that no longer changes."""
