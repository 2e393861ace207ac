"""Which globals a source reads, by the compiler's scopes."""

import pytest

from lockstep.runs.scopes import annotation_names, global_names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("def f(x):\n    return x", set()),
        ("def f(a):\n    x = a\n    return x", set()),
        ("def f():\n    return x", {"x"}),
        ("def f(a=x):\n    return a", {"x"}),
        ("def f(x=x):\n    return x", {"x"}),
        ("@x\ndef f():\n    pass", {"x"}),
        ("def f():\n    return [x for x in y]", {"y"}),
        ("def f():\n    return [x for y in range(3)]", {"x", "range"}),
        ("def f():\n    return {k: v for k, v in d.items() if k}", {"d"}),
        ("def f():\n    return (lambda x: x + y)(1)", {"y"}),
        ("def f():\n    for x in y:\n        pass\n    return x", {"y"}),
        ("def f():\n    with y as x:\n        return x", {"y"}),
        ("def f():\n    try:\n        pass\n    except E as x:\n        return x", {"E"}),
        ("def f():\n    if (x := y) > 1:\n        return x", {"y"}),
        ("def f():\n    import x\n    from y import h as z\n    return x, z", set()),
        ("def f(v):\n    match v:\n        case [x, *y]:\n            return x, y\n        case {'a': h}:\n"
         "            return h\n        case C(k=z) as s:\n            return z, s", {"C"}),
        ("def f():\n    global x\n    x = 1", set()),
        ("def f():\n    global x\n    x = x + 1", {"x"}),
        ("def f():\n    x = 1\n    def g():\n        nonlocal x\n        x += 1\n    return g", set()),
        ("def f(o):\n    return o.x + o['y'] + g(h=1)", {"g"}),
        ("def f():\n    def x():\n        return y\n    class h:\n        pass\n    return x, h", {"y"}),
        ("class C:\n    x = 1\n    def f(self):\n        return self.x", set()),
        # A method does not see what the class's body binds.
        ("class C:\n    x = 1\n    def f(self):\n        return x", {"x"}),
        ("class C:\n    x = 1\n    y = x + 1", set()),
        ("class C:\n    x = x", {"x"}),
        ("class C:\n    y = x\n    x = 1", {"x"}),
        ("class C:\n    x += 1", {"x"}),
        ("class C:\n    x = 1\n    x += 1", set()),
        ("class C:\n    if y:\n        x = 1\n    z = x", {"x", "y"}),
        ("class C:\n    if y:\n        x = 1\n        z = x", {"y"}),
        ("class C:\n    for x in y:\n        z = x", {"y"}),
        ("class C:\n    with y as x:\n        z = x\n    h = x", {"y"}),
        ("class C:\n    try:\n        x = 1\n    except E:\n        pass\n    z = x", {"E", "x"}),
        ("class C:\n    x = 1\n    z = [y for y in x]", set()),
        # Only the first iterable of a comprehension is read in the class; the rest sees globals.
        ("class C:\n    x = 1\n    z = [x for y in range(3)]", {"x", "range"}),
        ("class C:\n    x = 1\n    def f(self, a=x):\n        return a", set()),
        ("class C:\n    def x(self):\n        pass\n    y = property(x)", {"property"}),
        ("class C:\n    class D:\n        y = x\n        x = 1", {"x"}),
        ("class C(B, metaclass=M):\n    pass", {"B", "M"}),
        ("class C:\n    def f(self, x: h, *y: h) -> h:\n        z: h = x\n        return z", set()),
        ("class C:\n    x: h = y", {"y"}),
        ("class C:\n    def __f(self):\n        return __x", {"_C__x"}),
    ],
)  # fmt: skip
def test_a_name_counts_where_the_compiler_looks_among_globals(text, names):
    assert global_names(text) == names


def test_annotations_are_a_list_of_their_own():
    text = "class C:\n    x: h = 1\n    def f(self, a: x.Y, *b: list[z]) -> s:\n        pass\n"
    assert annotation_names(text) == {"h", "x", "list", "z", "s"}
