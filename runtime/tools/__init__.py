"""What nodes, and later agents, do beyond pages."""
