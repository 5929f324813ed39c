"""BLAKE2b, the one hash that the data path wants: for etags, for consumers of rate limits, for consistent hashing.

Why:     `hashlib` hands on this very function, but to import it makes OpenSSL load every algorithm it has: 0.5 MiB
         in every pod for good, and 1 ms.
"""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:  # a Python that is built otherwise
    from hashlib import blake2b

__all__ = ["blake2b"]
