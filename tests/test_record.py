"""Records are frozen dataclasses in all that a user sees of them."""

from dataclasses import FrozenInstanceError, asdict, dataclass, field, replace

import pytest

from rewire._record import record


class Names:
    """Holds the two, so that their qualified names are alike but for the last part."""

    @record
    class Ours:
        a: int
        b: list = field(default_factory=list, compare=False)
        c: float = field(default=0.5, repr=False)

        def __post_init__(self):
            object.__setattr__(self, "a", abs(self.a))

    @dataclass(frozen=True)
    class Real:
        a: int
        b: list = field(default_factory=list, compare=False)
        c: float = field(default=0.5, repr=False)

        def __post_init__(self):
            object.__setattr__(self, "a", abs(self.a))


@pytest.mark.parametrize("kind", [Names.Ours, Names.Real])
def test_values(kind):
    one = kind(-3)
    assert (one.a, one.b, one.c) == (3, [], 0.5)
    assert repr(one) == f"Names.{kind.__name__}(a=3, b=[])"
    assert one == kind(3, [1]) and hash(one) == hash(kind(3, [1]))  # b is not compared
    assert one != kind(4) and one != (3, [], 0.5) and one != kind(3, c=0.25)
    assert len({one, kind(3, [1]), kind(4)}) == 2
    assert replace(one, a=-7) == kind(7)
    assert asdict(one) == {"a": 3, "b": [], "c": 0.5}
    for change in (lambda: setattr(one, "a", 1), lambda: delattr(one, "a")):
        with pytest.raises(FrozenInstanceError):
            change()
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        kind()


@pytest.mark.parametrize("kind", [Names.Ours, Names.Real])
def test_classes_on_top(kind):
    """Somebody's own class on a record is a dataclass as usual; a method of its own stays."""

    @dataclass(frozen=True)
    class Below(kind):
        d: int = 1

        def __repr__(self):
            return "mine"

    assert Below(-1) == Below(1) != Below(1, d=2)
    assert repr(Below(1)) == "mine"
    assert Below(1) != kind(1) and kind(1) != Below(1)

    for derived in (Below(1), type("Plain", (kind,), {})(1)):
        for change in (lambda d=derived: setattr(d, "a", 2), lambda d=derived: delattr(d, "a")):
            with pytest.raises(FrozenInstanceError):
                change()
    with pytest.raises(FrozenInstanceError):
        Below(1).new = 1
    plain = type("Plain", (kind,), {})(1)  # no dataclass itself, so that it may have attributes beside fields
    plain.new = 1
    del plain.new
    with pytest.raises(TypeError, match="cannot inherit non-frozen dataclass from a frozen one"):
        dataclass(type("Loose", (kind,), {}))

    @record
    class Own(kind):
        def __eq__(self, other):
            return True

        __hash__ = None

    assert Own(1) == 5
    with pytest.raises(TypeError, match="unhashable"):
        hash(Own(1))
