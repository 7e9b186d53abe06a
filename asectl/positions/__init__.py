"""`asectl position ...` and what positions belong to: projects, applications, models."""
