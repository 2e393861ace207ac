"""Spec files: TOML, YAML 1.2 read strictly, overrides."""

import pytest

from lockstep.core.errors import SpecError
from lockstep.runs.spec_files import MAX_FILE_BYTES, load_spec, parse_json, parse_override, parse_toml, parse_yaml


def test_yaml_reads_words_times_and_exponents_as_people_mean_them():
    text = "a: no\nb: 1e-3\nc: 12:30\nd: yes\ne: off\nf: 0o10\ng: 010\nh: 2024-01-02\ni: '5'\nj: true\nk: 1.5\nl:\n"
    assert parse_yaml(text, "f.yaml") == {
        "a": "no",
        "b": 0.001,
        "c": "12:30",
        "d": "yes",
        "e": "off",
        "f": 8,
        "g": 10,
        "h": "2024-01-02",
        "i": "5",
        "j": True,
        "k": 1.5,
        "l": None,
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\nb: 2\na: 3", 'f.yaml, line 3: found duplicate key "a": it appears twice; keep one of them'),
        ("a: {b: 1, b: 2}", 'found duplicate key "b"'),
        ("a: &x 1\nb: *x", "f.yaml, line 1: a spec has no anchors and aliases (found 'x'); write the value out"),
        ("%YAML 1.1\n---\na: no", "a spec is YAML 1.2; found %YAML (1, 1). Remove that line."),
        ("a: !!python/name:os.system x", "a spec has no tags"),
        ("a: !!binary aGk=", "a spec has no tags"),
        ("a: 1\n---\nb: 2", "a spec is one YAML document; found a second one"),
        ("1: 2", 'f.yaml: 1: keys are text; found int 1. Put it in quotes: "1"'),
        ("no: 1\ntrue: 2", "keys are text; found bool True"),
        ("", 'the spec is empty; it needs at least kind = "..."'),
        ("- a", "a spec is a table of keys and values; found list"),
        ("a: [1", "f.yaml, line 1: not YAML 1.2: expected ',' or ']'"),
        ("a: 1\n b: 2", "line 2: not YAML 1.2"),
        ("a:\n\tb: 2", "line 2: YAML forbids tabs before a key. Indent with blanks."),
        ("[" * 5000, "f.yaml, line 1: nested deeper than 32 levels. Flatten it."),
        ("a: " + "[" * 40 + "]" * 40, "nested deeper than 32 levels. Flatten it."),
        ("a: 2024-13-45", "f.yaml: not a spec"),
        (
            "a: \x01",
            "f.yaml: not YAML 1.2: unacceptable character #x0001: special characters are not allowed. Check that line.",
        ),
    ],
)
def test_yaml_that_could_be_misread_is_refused(text, expected):
    with pytest.raises(SpecError) as caught:
        parse_yaml(text, "f.yaml")
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = 1\na = 2", "f.toml: not TOML: Cannot overwrite a value (at"),
        ("a = no", "f.toml: not TOML: Invalid value (at line 1, column 5). Text stands in quotes"),
        ("a = 1\n[a]\n", "f.toml: not TOML"),
    ],
)
def test_bad_toml_is_refused_with_its_place(text, expected):
    with pytest.raises(SpecError) as caught:
        parse_toml(text, "f.toml")
    assert expected in str(caught.value)


def test_a_double_key_in_json_is_refused():
    with pytest.raises(SpecError, match="the key 'a' appears twice in one object"):
        parse_json('{"a": 1, "a": 2}', "f.json")
    with pytest.raises(SpecError, match=r"f\.json: not JSON: .*line 1"):
        parse_json("{a: 1}", "f.json")


def test_dates_become_iso_text():
    assert parse_toml("a = 2024-01-02\nb = 2024-01-02T03:04:05Z", "f") == {
        "a": "2024-01-02",
        "b": "2024-01-02T03:04:05+00:00",
    }


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("a=5", ["a"], 5),
        ("a.b=0.5", ["a", "b"], 0.5),
        ("a = true", ["a"], True),
        ("a=word", ["a"], "word"),
        ("a=two words", ["a"], "two words"),
        ("strategy.name=my_file.py:Mine", ["strategy", "name"], "my_file.py:Mine"),
        ("a=BTC/USDT", ["a"], "BTC/USDT"),
        ("a=[1, 2]", ["a"], [1, 2]),
        ("a={low = 1, high = 2}", ["a"], {"low": 1, "high": 2}),
        ('a="5"', ["a"], "5"),
        ('a=""', ["a"], ""),
        ('a."b.c"=1', ["a", "b.c"], 1),
        ("a=1e-3", ["a"], 0.001),
        ("a=2024-01-02", ["a"], "2024-01-02"),
        ("a=x=y", ["a"], "x=y"),
    ],
)
def test_an_override_is_a_toml_value_or_a_bare_word(text, path, value):
    assert parse_override(text) == (path, value)


@pytest.mark.parametrize("text", ["a", "=1", "a b=1", "a=", "a=[1", 'a="x', "a=1\nb=2", "a..b=1", "a={x=1"])
def test_an_override_that_is_neither_is_refused_and_quoted(text):
    with pytest.raises(SpecError) as caught:
        parse_override(text)
    assert f"--set {text}: " in str(caught.value)


def test_an_override_inside_something_that_is_no_table_says_so():
    with pytest.raises(SpecError, match=r"--set a\.b=1: a is 5, not a table, so nothing can be set inside it; set a"):
        load_spec({"a": 5}, ["a.b=1"])


def test_loading_does_not_change_the_callers_dict():
    values = {"a": {"b": 1}, "random_seed": 1}
    assert load_spec(values, ["a.b=2"]) == {"a": {"b": 2}, "seed": 1}
    assert values == {"a": {"b": 1}, "random_seed": 1}


def test_values_that_no_file_can_hold_are_refused_by_key():
    with pytest.raises(SpecError, match=r"the spec: a\.b\[1\]: a spec holds text, numbers.*found object"):
        load_spec({"a": {"b": [1, object()]}})


def test_numpy_numbers_in_a_dict_are_taken_as_the_numbers_they_are():
    import numpy as np

    loaded = load_spec({"a": np.float64(0.5), "b": np.int64(3)})
    assert loaded == {"a": 0.5, "b": 3}
    assert [type(value) for value in loaded.values()] == [float, int]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("spec.txt", b"a=1", r"a spec is a \.toml, \.yaml, \.yml or \.json file; found suffix '\.txt'"),
        ("spec.toml", b"\xff\xfe", "a spec is UTF-8 text; byte 0 is not"),
        ("spec.toml", b"#" * (MAX_FILE_BYTES + 1), f"a spec has at most {MAX_FILE_BYTES} bytes"),
    ],
)
def test_a_file_that_is_no_spec_is_refused(tmp_path, name, content, expected):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SpecError, match=expected):
        load_spec(tmp_path / name)


def test_a_missing_file_is_named():
    with pytest.raises(SpecError, match=r"nowhere\.toml: the spec cannot be read \(No such file or directory\)"):
        load_spec("nowhere.toml")


def test_a_folder_is_no_spec(tmp_path):
    with pytest.raises(SpecError, match="is a folder; a spec is a file"):
        load_spec(tmp_path)
