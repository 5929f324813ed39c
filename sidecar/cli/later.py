"""A module that is loaded when something of it is asked for, whoever imports it before.

In:      the name of a module that others import at their top and may never use.
Why:     protobuf imports its implementation in Python, and what that brings (its text format, pickle, and more), beside
         the one in C that does the work: 1.6 MiB in every pod for good, and 7 ms of every start.
Rule:    nothing is left out: whatever asks for an attribute gets that of the real module.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType


class _Later(ModuleType):
    """Stands in `sys.modules` for the module of its name, until that is loaded in its place."""

    def __getattr__(self, name: str) -> object:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(import_module(self.__name__), name)


def load_later(name: str) -> None:
    """To be called before anybody imports the module."""
    if name not in sys.modules:
        sys.modules[name] = _Later(name)
