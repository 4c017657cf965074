"""The command `waas`: the user's side of the Workflow Execution Service. Imports nothing of the service itself."""
