from typing import Any, Final

UNIQUE: Final[int]
FAULTLESS: Final[int]

def judge(value: dict[str, Any], body: bytes, max_depth: int) -> int: ...
