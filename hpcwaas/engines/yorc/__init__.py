"""The engine that runs workflows of what Yorc has deployed."""
