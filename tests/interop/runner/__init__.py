"""Runs the foreign peers against a `lapis` binary."""
