"""Tests of the Runtime tier."""
