"""Every option of the product, declared once; read from file, environment and flags."""
