"""What callers used: one row per request and session, for bills and quotas."""
