"""The history of Experience's schema; store/migrate.py runs it."""
