"""From file, environment and flags to settings that the service can honour."""
