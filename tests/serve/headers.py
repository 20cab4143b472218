"""Headers of every answer."""

from __future__ import annotations

from typing import Any

CARRIED = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; "
    "form-action 'self'",
}


def carries(answer: Any) -> bool:
    return all(answer.headers.get(name) == value for name, value in CARRIED.items())
