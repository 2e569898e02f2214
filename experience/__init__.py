"""The public tier: people and programs come in here."""
