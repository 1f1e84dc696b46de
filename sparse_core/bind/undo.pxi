# undo.pxi -- what objects have now, as calls that put it back: every `fit` looks at some 200 attributes.

cdef object COPY_TO = np.copyto


cdef class Kept:
    """What an object had when it was last looked at: in the next call only what is other now is copied anew."""
    cdef dict values
    cdef list inside  # those that may change inside


cdef bint catch_up(Kept kept, dict there, kinds) except -1:
    """Let ``kept`` have the present attributes; False, and it stays as it is, if it has to be made anew."""
    cdef PyObject *name
    cdef PyObject *value
    cdef PyObject *before
    cdef Py_ssize_t at = 0
    cdef list other = []
    if PyDict_Size(there) != PyDict_Size(kept.values):
        return False
    while PyDict_Next(there, &at, &name, &value):
        before = PyDict_GetItemWithError(kept.values, <object>name)
        if before == NULL:
            return False
        if before != value:
            if kinds[type(<object>before)] or kinds[type(<object>value)]:
                return False
            other.append((<object>name, <object>value))
    for known, new in other:
        kept.values[known] = new
    return True


def keep(thing, kinds, list undo, shallow=(), Kept before=None):
    """Add to ``undo`` the calls, (function, *arguments), that give an object its attributes back.

    And what may change inside of these, stores, arrays and plain containers to any depth, but for those that
    are ``shallow``; None: all are. All other objects are kept as they are. ``kinds`` has for each class what
    its instances hold: "store", "array", "tuple", "list", "dict", "set", "deque", or "".

    Returns
    -------
    Kept
        What may be the next call's ``before``, of this object or of another one, once ``undo`` is done with.
    """
    cdef dict there = thing.__dict__
    if before is None or not catch_up(before, there, kinds):
        before = Kept.__new__(Kept)
        before.values, before.inside = there.copy(), []
        if shallow is not None:
            before.inside = [x for name, x in there.items() if kinds[type(x)] and name not in shallow]
    undo.append((set_attributes, thing, before.values))
    if not before.inside:
        return before
    cdef set seen = set()
    # A list of what is still to be looked at, not a function that calls itself: no depth overflows the stack.
    cdef list waiting = before.inside.copy()
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        holds = kinds[type(value)]
        if holds == "store":
            undo.append((value._core.revert, value._core.clone()))
        elif holds == "array":
            if value.flags.writeable and value.size and not value.dtype.hasobject:
                undo.append((COPY_TO, value, value.copy()))
        else:
            if holds != "tuple":
                keep_items(value, holds, undo)
            inside = value.values() if holds == "dict" else value
            waiting.extend([item for item in inside if kinds[type(item)]])
    return before


def keep_items(container, str holds, list undo):
    """The same for the items that a list, dict, set or deque has now."""
    if holds == "list":
        undo.append((container.__setitem__, slice(None), list(container)))
    else:
        undo.append((put_back, container, holds, type(container).copy(container)))


def keep_rows(rows, list before, list undo):
    """The same for a list that grows from call to call; gives what is ``before`` in the next one.

    Only items that have been added since are copied, as long as those of before are still the first ones.
    A copy is never changed, but for what is behind the items that somebody may put back.
    """
    cdef Py_ssize_t known = len(before), same = 0
    if isinstance(rows, list) and known <= PyList_GET_SIZE(rows):
        while same < known and PyList_GET_ITEM(rows, same) == PyList_GET_ITEM(before, same):
            same += 1
    if same == known:
        before.extend(rows[known:])
    else:
        before = list(rows)
    undo.append((put_first, rows, before, len(before)))
    return before


def put_first(container, list items, Py_ssize_t count):
    """Let a list have the first ``count`` of these items and no others."""
    container[:] = items[:count]


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
