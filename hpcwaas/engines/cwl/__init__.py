"""The embedded engine: runs CWL workflows on a site with an existing CWL runner."""
