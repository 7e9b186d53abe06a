"""Where models run: one runtime each."""
