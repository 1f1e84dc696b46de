# undo.pxi -- what objects have now, as calls that put it back: every `fit` looks at some 200 attributes.

cdef object COPY_TO = np.copyto


def keep(thing, kinds, list undo, shallow=()):
    """Add to ``undo`` the calls, (function, *arguments), that give an object its attributes back.

    And what may change inside of these, but for those that are ``shallow``; None: all are. ``kinds`` has for
    each class what its instances hold: "store", "array", "tuple", "list", "dict", "set", "deque", or "".
    """
    cdef dict there = thing.__dict__, values = there.copy()
    undo.append((set_attributes, thing, values))
    if shallow is None:
        return
    cdef set seen = set()
    for name, value in values.items():
        holds = kinds[type(value)]
        if holds and name not in shallow:
            keep_contents(value, holds, kinds, undo, seen)


cdef int keep_contents(value, str holds, kinds, list undo, set seen) except -1:
    """Stores, arrays and plain containers, to any depth; all other objects are kept as they are."""
    if holds == "store":
        undo.append((value._core.revert, value._core.clone()))
        return 0
    items = value
    if holds != "tuple":
        if id(value) in seen:
            return 0
        seen.add(id(value))
        if holds == "array":
            if value.flags.writeable and value.size and not value.dtype.hasobject:
                undo.append((COPY_TO, value, value.copy()))
            return 0
        keep_items(value, holds, undo)
        if holds == "dict":
            items = value.values()
    for item in items:
        inside = kinds[type(item)]
        if inside:
            keep_contents(item, inside, kinds, undo, seen)
    return 0


def keep_items(container, str holds, list undo):
    """The same for the items that a list, dict, set or deque has now."""
    if holds == "list":
        undo.append((container.__setitem__, slice(None), list(container)))
    else:
        undo.append((put_back, container, holds, type(container).copy(container)))


def put_back(container, str holds, items):
    """Let a dict, set or deque have these items and no others."""
    container.clear()
    (container.extend if holds == "deque" else container.update)(items)


def set_attributes(thing, dict values):
    """Let an object have these attributes and no others."""
    now = thing.__dict__
    now.update(values)
    for name in now.keys() - values.keys():
        del now[name]
