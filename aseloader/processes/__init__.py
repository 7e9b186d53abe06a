"""A loader whose wrapper runs in several processes behind one port (`docs/loader.md`)."""
