"""What runs: the launcher, a supervisor for each execution, and the runner that it watches."""
