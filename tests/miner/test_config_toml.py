import pytest

from miner.config_toml import TomlError, parse

DOCUMENT = parse(
    """\
network = "regtest"
deep.er = 1
[[bitcoind]]
rpc_url = "a"

[[bitcoind]]
# a comment
rpc_url = "b"
[ cpu ]      # spaces, and a comment
threads = 2
modes = [
  { name = "off", threads = 0 },
  { name = "on",
    threads = 2 },
]
text = '''
[not.a.table]
'''
[controller]
[controller."max age"]
btc_usd = 1
[[unit]]
id = "ä"
[[unit.part]]
n = 1
[unit.own]
n = 2
"""
)


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("network",), 1),
        (("deep",), 2),
        (("deep", "er"), 2),
        (("bitcoind",), 3),
        (("bitcoind", 0), 3),
        (("bitcoind", 0, "rpc_url"), 4),
        (("bitcoind", 1), 6),
        (("bitcoind", 1, "rpc_url"), 8),
        (("cpu",), 9),
        (("cpu", "threads"), 10),
        (("cpu", "modes"), 11),
        (("cpu", "modes", 0, "name"), 12),
        (("cpu", "modes", 1), 13),
        (("cpu", "modes", 1, "threads"), 14),
        (("controller",), 19),
        (("controller", "max age"), 20),
        (("controller", "max age", "btc_usd"), 21),
        (("unit", 0), 22),
        (("unit", 0, "part", 0, "n"), 25),
        (("unit", 0, "own", "n"), 27),
    ],
)
def test_every_key_table_and_item_has_its_line(path: tuple[str | int, ...], line: int) -> None:
    assert DOCUMENT.line_of(path) == line


def test_what_is_missing_is_missing_from_its_table() -> None:
    assert DOCUMENT.line_of(("bitcoind", 1, "cookie_file")) == 6
    assert DOCUMENT.line_of(("controller", "tick_s")) == 19
    assert DOCUMENT.line_of(("solo", "payout_address")) == 1


def test_text_that_looks_like_a_table_is_text() -> None:
    assert ("not", "a", "table") not in DOCUMENT.lines


def test_values_are_those_of_toml() -> None:
    assert DOCUMENT.value["bitcoind"] == [{"rpc_url": "a"}, {"rpc_url": "b"}]
    assert DOCUMENT.value["unit"][0]["id"] == "ä"


@pytest.mark.parametrize(
    ("text", "line", "column", "word"),
    [
        ("a = \n", 1, 5, "quoted"),
        ("a = 1\nb = 1\na = 2\n", 3, 1, "duplicate"),
        ("x = 1\n[a\n", 2, 3, "]"),
        ('[a]\nb = "ü" c\n', 2, 9, "unexpected"),
        ("a = [1,\n", 1, 8, "array"),
        ("[t]\n[t]\n", 2, 2, "duplicate"),
    ],
)
def test_what_is_no_toml_is_told_with_line_and_column(text: str, line: int, column: int, word: str) -> None:
    with pytest.raises(TomlError) as error:
        parse(text)
    assert (error.value.line, error.value.column) == (line, column)
    assert word in error.value.message
    assert "\n" not in error.value.message
