"""Live load reports in, the next instance out: hub, table, picker, and the loader's reporter."""
