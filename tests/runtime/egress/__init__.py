"""Tests of the ways out, with real sockets and a real Chromium."""
