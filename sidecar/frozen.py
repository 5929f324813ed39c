"""Values: frozen, slotted, equal by their fields; what `@dataclass(frozen=True, slots=True)` gives, made at once.

In:      a class of annotated fields, some with a default.
Out:     its constructor, equality, hash, repr and pattern, which all values share; `replace` and `as_dict`.
Why:     dataclass writes and compiles six functions a class, 0.4 ms at every start and 12 KiB for good. Sixty of them
         were a quarter of the start of the bare data path; see docs/performance.md.
Cost:    making a value takes some 0.2 µs a field more than with a dataclass: not for what every request makes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn, TypeVar, dataclass_transform


class _Slotted(type):
    """Takes the fields out of the class body and makes slots of them."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> _Slotted:
        fields = tuple(body.get("__annotations__", ())) if bases else ()
        defaults = {field: body.pop(field) for field in fields if field in body}
        made = {"__slots__": fields, "__match_args__": fields, "_defaults": defaults}
        return super().__new__(cls, name, bases, {**body, **made})


@dataclass_transform(frozen_default=True)
class Frozen(metaclass=_Slotted):
    """The base of values. A value's class is not derived from any further."""

    __match_args__: ClassVar[tuple[str, ...]]
    _defaults: ClassVar[Mapping[str, Any]]

    def __init__(self, *values: Any, **named: Any) -> None:
        fields = self.__match_args__
        if len(values) < len(fields):
            values += tuple(_taken(self, field, named) for field in fields[len(values) :])
        if named or len(values) > len(fields):
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(fields)}, each once")
        for field, value in zip(fields, values, strict=True):
            object.__setattr__(self, field, value)

    def __eq__(self, other: object) -> bool:
        return _values(self) == _values(other) if type(other) is type(self) else NotImplemented

    def __hash__(self) -> int:
        return hash(_values(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in as_dict(self).items())})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be deleted")


F = TypeVar("F", bound=Frozen)


def replace(value: F, **changes: Any) -> F:
    """A value like this one, but for the fields that are named."""
    return type(value)(**{**as_dict(value), **changes})


def as_dict(value: Frozen) -> dict[str, Any]:
    """Its fields by name, in order; what they hold stays as it is."""
    return {field: getattr(value, field) for field in value.__match_args__}


def _taken(value: Frozen, field: str, named: dict[str, Any]) -> Any:
    if field in named:
        return named.pop(field)
    try:
        return value._defaults[field]
    except KeyError:
        raise TypeError(f"{type(value).__name__} needs {field}") from None


def _values(value: Frozen) -> tuple[Any, ...]:
    return tuple([getattr(value, field) for field in value.__match_args__])
