"""Restoring: what is to be put where, found before anything is changed. Source: docs/restore.md."""
