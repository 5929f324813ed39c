"""Values: what they promise to those who would have used a frozen dataclass."""

from __future__ import annotations

import subprocess
import sys

import pytest

from sidecar.frozen import Frozen, as_dict, replace


class Point(Frozen):
    """Somewhere."""

    x: int
    y: int = 0

    def far(self) -> bool:
        return self.x + self.y > 10


class Pair(Frozen):
    x: int
    y: int


def test_fields_are_given_by_place_or_by_name_and_may_have_a_default() -> None:
    assert as_dict(Point(3)) == {"x": 3, "y": 0}
    assert as_dict(Point(3, 4)) == as_dict(Point(3, y=4)) == as_dict(Point(y=4, x=3)) == {"x": 3, "y": 4}
    assert Point(9, 9).far()


@pytest.mark.parametrize(
    "source", ["Point()", "Point(1, 2, 3)", "Point(1, z=2)", "Point(1, x=2)", "Pair(x=1)"]
)
def test_a_field_that_is_missing_unknown_or_given_twice_is_refused(source: str) -> None:
    with pytest.raises(TypeError, match=r"needs|has the fields"):
        eval(source)


def test_values_are_equal_by_class_and_fields() -> None:
    assert Point(1, 2) == Point(1, 2)
    assert hash(Point(1, 2)) == hash(Point(1, 2))
    assert Point(1, 2) != Point(2, 1)
    assert Point(1, 2) != Pair(1, 2)
    assert Point(1, 2) != (1, 2)


def test_nothing_can_be_set_removed_or_added() -> None:
    point = Point(1)
    for change in ("point.x = 2", "point.z = 2", "del point.x"):
        with pytest.raises(AttributeError, match="frozen"):
            exec(change, {"point": point})
    assert not hasattr(point, "__dict__")


def test_replaced_is_another_value() -> None:
    point = Point(1, 2)
    assert replace(point, y=5) == Point(1, 5)
    assert point == Point(1, 2)
    with pytest.raises(TypeError):
        replace(point, z=1)


def test_a_value_shows_its_fields_and_can_be_matched() -> None:
    assert repr(Point(1, 2)) == "Point(x=1, y=2)"
    match Point(1, 2):
        case Point(x, y=2):
            assert x == 1
        case _:
            pytest.fail("no match")


def test_it_brings_neither_dataclasses_nor_what_they_bring() -> None:
    """That is what it is for."""
    code = "import sys, sidecar.frozen; print([m for m in ('dataclasses', 'inspect') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "[]\n"
