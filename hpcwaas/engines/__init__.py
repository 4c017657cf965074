"""What runs workflows. Every engine obeys `hpcwaas.core.ports.engine.Engine`."""
