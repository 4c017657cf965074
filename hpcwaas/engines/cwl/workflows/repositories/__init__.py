"""Git repositories whose workflows are published: from where they are fetched, and what was fetched."""
