"""The registry under load, and killed while it writes."""
