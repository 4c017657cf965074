"""What the service means: models, policy and use cases."""
