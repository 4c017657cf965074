"""The service's own records: SQLAlchemy models, queries, migrations."""
