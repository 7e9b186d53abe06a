"""Models from elsewhere: files that are pulled when needed, and catalogs that are followed."""
