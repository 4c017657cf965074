"""Who calls: credentials to `Principal`."""
