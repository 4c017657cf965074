"""Serves the application: listening, gunicorn and its workers, the protocol, the log."""
