"""What clients of MITLab's positions know a gateway by: their paths, certificates and reports."""
