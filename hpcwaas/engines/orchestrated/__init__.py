"""What engines share that drive an orchestrator's server."""
