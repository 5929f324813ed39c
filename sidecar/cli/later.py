"""Modules that are loaded when something of them is asked for, whoever imports them before.

In:      the name of a module that others import at their top and may never use.
Why:     what is imported stays in every pod for good, and costs every start its time.
Rule:    nothing is left out: whatever asks for an attribute gets that of the real module.
"""

from __future__ import annotations

import sys
from importlib import import_module
from threading import Lock
from types import ModuleType

# Each by whom it is imported, and when something of it is asked for.
UNUSED = (
    # By protobuf. Its implementation in Python, and what that brings (its text format, pickle, and more), beside the
    # one in C that does the work: when a policy is written. Also for what its Timestamp can do: never.
    *("google.protobuf.internal.python_message", "calendar"),
    # By asyncio and what that stands on: for a child whose output is text, for the sources of a traceback, for
    # certificates as text, for file descriptors over a socket, for threads that wait for work.
    *("locale", "tokenize", "base64", "array", "queue"),
    # By prometheus_client's HTTP server, and by what finds the plugins of opentelemetry: for error pages, for
    # addresses in brackets, for passwords, for packages in an archive.
    *("html", "ipaddress", "hashlib", "zipfile"),
)
_taking_the_place = Lock()


class _Later(ModuleType):
    """Stands in `sys.modules` for the module of its name, until that is loaded in its place."""

    def __getattr__(self, name: str) -> object:
        with _taking_the_place:  # threads that ask at once: the second would remove what the first has loaded
            if sys.modules.get(self.__name__) is self:
                del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


def load_later(*names: str) -> None:
    """To be called before anybody imports the modules."""
    for name in names:
        if name not in sys.modules:
            sys.modules[name] = _Later(name)
