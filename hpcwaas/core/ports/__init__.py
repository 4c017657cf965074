"""The Protocols that adapters obey: engines, the vault, the records, and the ways to sign in."""
