"""The Workflow Execution Service: run published workflows on a supercomputer without knowing it."""

import warnings

__version__ = "0.1.0"

# Connexion imports Starlette's test client with its application; that client's advice concerns nobody who runs a service.
warnings.filterwarnings("ignore", message="Using `httpx` with `starlette.testclient` is deprecated")
