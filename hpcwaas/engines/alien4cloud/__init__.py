"""The engine that runs workflows published in Alien4Cloud."""
