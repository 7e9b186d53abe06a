"""What schemas become: OpenAPI, examples, sources, clients, differences."""
