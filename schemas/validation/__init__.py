"""A schema becomes a validator: compilation, cost bounds, violations."""
