"""Traefik's static and dynamic configuration, for the local stack and for compose, from one table of routes."""
