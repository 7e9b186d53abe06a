"""Where the registry keeps its records: SQLite in one process, or etcd for several."""
