"""The loader side: counting, deciding when to report, reporting."""
