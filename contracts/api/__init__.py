"""Every endpoint, declared once, a module per noun."""
