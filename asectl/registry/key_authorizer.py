"""Who asks the registry, by the keys of `asectl key create --role`."""

import time

from gateway.access.key_table import KeySource
from registry.access import Actor
from registry.errors import Refusal, RegistryError


class KeyAuthorizer:
    """An `Authorizer` by the keys of a store."""

    def __init__(self, keys: KeySource) -> None:
        self._keys = keys

    def identify(self, authorization: str, author: str) -> Actor:
        """Return the actor of a key: its id, its application and the claimed name."""
        scheme, _, text = authorization.partition(" ")
        if scheme.lower() != "bearer" or not text:
            raise RegistryError(
                Refusal.UNAUTHENTICATED,
                "no key",
                "send Authorization: Bearer KEY; asectl key create --role editor makes one",
            )
        key = self._keys.table().find_key(text.strip())
        if key is None:
            raise RegistryError(Refusal.UNAUTHENTICATED, "this key is not known")
        problem = key.problem(time.time())
        if problem:
            raise RegistryError(Refusal.UNAUTHENTICATED, f"the key cannot be used: {problem}")
        identity = key.identity
        # What a client says of itself is shown behind the key, which alone is proved.
        name = f"{identity.app_id} ({identity.key_id}{f', {author}' if author else ''})"
        return Actor.from_grants(name, identity.roles, identity.key_id)
