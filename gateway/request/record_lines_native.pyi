def log_line(
    prefix: str,
    sid: str,
    subject: str,
    instance: str,
    status: int,
    code: int,
    attempts: int,
    total_s: float,
    upstream_s: float,
    overhead_s: float,
    further_fields: str,
    /,
) -> str: ...
def response_lines(
    content_type: str,
    body_size: int,
    sid: str,
    overhead_s: float,
    upstream_s: float,
    attempts: int,
    further_lines: str,
    instance: str,
    /,
) -> bytes: ...
def success_body(sid: str, payload: bytes, /) -> bytes: ...
