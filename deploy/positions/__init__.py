"""Projects, applications, models and positions: models in service, by what they are for."""
