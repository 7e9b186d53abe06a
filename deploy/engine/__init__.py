"""Brings what runs to what is wanted."""
