"""The internal tier: workflows, browsers and what runs them."""
