"""Seeds: every chance event draws from a generator named by what it is for.

`derive(seed, "order", epoch)` is a pure function, so a resumed run needs no stored history.
"""

import hashlib


def derive(seed: int, *purpose: str | int) -> int:
    """Return a 63-bit seed for one purpose, independent of all other purposes' seeds."""
    text = "/".join(map(str, (seed, *purpose)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
