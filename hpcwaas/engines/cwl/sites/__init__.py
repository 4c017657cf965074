"""Sites that are reached by SSH."""
