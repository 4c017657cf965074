"""The command `hpcwaas-api`: one module for each group of commands."""
