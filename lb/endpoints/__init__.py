"""The loaders that are known: reports, states, load, ejection."""
