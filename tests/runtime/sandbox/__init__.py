"""Tests of the sandbox: everything is tried for real, in every backend, as root and as an ordinary user."""
