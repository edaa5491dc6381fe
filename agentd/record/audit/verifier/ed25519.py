"""Verifies Ed25519 signatures without a library: RFC 8032, section 5.1.7 and its appendix."""

from __future__ import annotations

import hashlib

_P, _L = 2**255 - 19, 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, -1, _P) % _P
_Point = tuple[int, int, int, int]


def _add(a: _Point, b: _Point) -> _Point:
    x = (a[1] - a[0]) * (b[1] - b[0]) % _P
    y = (a[1] + a[0]) * (b[1] + b[0]) % _P
    z, t = 2 * a[2] * b[2] % _P, 2 * a[3] * b[3] * _D % _P
    e, f, g, h = y - x, z - t, z + t, y + x
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(number: int, point: _Point) -> _Point:
    total: _Point = (0, 1, 1, 0)
    while number:
        if number & 1:
            total = _add(total, point)
        point, number = _add(point, point), number >> 1
    return total


def _point(encoded: bytes) -> _Point | None:
    y = int.from_bytes(encoded, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, -1, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if x * x % _P != square:
        x = x * pow(2, (_P - 1) // 4, _P) % _P
    if x * x % _P != square or (x == 0 and sign):
        return None
    x = _P - x if x & 1 != sign else x
    return x, y, 1, x * y % _P


_base = _point((4 * pow(5, -1, _P) % _P).to_bytes(32, "little"))


def verify(public: bytes, text: bytes, signature: bytes) -> bool:
    """Whether this is the signature of `text`. Slow (milliseconds), and without any library."""
    if len(public) != 32 or len(signature) != 64:
        return False
    a, r = _point(public), _point(signature[:32])
    s = int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= _L or _base is None:
        return False
    challenge = hashlib.sha512(signature[:32] + public + text).digest()
    left = _times(s, _base)
    right = _add(r, _times(int.from_bytes(challenge, "little") % _L, a))
    # The same point: both are fractions.
    return not (left[0] * right[2] - right[0] * left[2]) % _P and not (
        (left[1] * right[2] - right[1] * left[2]) % _P
    )
