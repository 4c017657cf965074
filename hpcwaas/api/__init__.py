"""The HTTP edge: thin handlers, security, problems, middleware."""
