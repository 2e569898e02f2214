"""What Runtime keeps in PostgreSQL; the only place of this tier where SQL is written."""
