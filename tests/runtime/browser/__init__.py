"""Tests against a real Chromium and a site on loopback."""
