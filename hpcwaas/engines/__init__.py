"""What runs workflows. Every engine obeys `hpcwaas.engines.base.Engine`."""
