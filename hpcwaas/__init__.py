"""The Workflow Execution Service: run published workflows on a supercomputer without knowing it."""

import warnings

__version__ = "0.1.0"

# Connexion imports Starlette's test client with its application, and that client's advice concerns no operator.
warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient` is deprecated")
