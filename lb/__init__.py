"""Load reports and endpoint selection: hub, endpoint table, picker and the loader's reporter."""
