"""The command `waas`: the user's side of the Workflow Execution Service. Imports nothing of the service itself."""

__version__ = "0.1.0"
