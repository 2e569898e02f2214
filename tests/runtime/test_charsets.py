"""What a site calls its charset is looked up in the list of the standard, and nowhere else."""

from collections.abc import Callable

import pytest
from webencodings.labels import LABELS

from runtime.charsets import LATIN_1, UTF_8, find_charset, read_text
from tests.support.growth import FOURFOLD_LIMIT, measure_growth

READ = sorted(name for name in set(LABELS.values()) if name != "replacement")


@pytest.mark.parametrize(
    "label",
    [
        *("punycode", "idna", "undefined", "unicode_escape", "raw_unicode_escape", "utf-7", "mbcs", "rot13", "hex"),
        *("replacement", "hz-gb-2312", "utf-32", "", "é", "x" * 5_000),
    ],
)
def test_what_is_no_charset_of_the_web_is_read_as_utf_8(label: str) -> None:
    assert find_charset(label, b"") is None
    assert read_text("a-ü\\u0041".encode() + b"\xff", label) == "a-ü\\u0041\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("label", "data", "text"),
    [
        ("UTF8", "ü".encode(), "ü"),
        (" latin1 ", b"\x80\xfc", "€ü"),
        ("utf-16", "ü".encode("utf-16-le"), "ü"),
        ("latin1", b"\xef\xbb\xbf" + "ü".encode(), "ü"),
        ("utf-8", "ü".encode("utf-16"), "ü"),
        ("utf-8", b"\xfe\xff" + "ü".encode("utf-16-be"), "ü"),
        ("shift_jis", "日本".encode("cp932"), "日本"),
        ("x-user-defined", b"a\x80", "a\uf780"),
    ],
)
def test_what_is_one_is_read_as_browsers_do(label: str, data: bytes, text: str) -> None:
    assert read_text(data, label) == text
    charset = find_charset(label, data)
    assert charset is not None
    assert charset.encode(charset.decode(data, "strict")) == data


@pytest.mark.parametrize("name", READ)
def test_none_of_them_fails_or_takes_more_than_its_share(name: str) -> None:
    samples = [b"a-", b"\xff", bytes(range(256)), b"\x1b$B0!", b"-", b"\\u"]

    def prepare(size: int) -> Callable[[], list[str]]:
        bodies = [(sample * (size // len(sample) + 1))[:size] for sample in samples]
        return lambda: [read_text(body, name) for body in bodies]

    assert measure_growth(prepare, 20_000) < FOURFOLD_LIMIT


def test_pieces_are_put_together_where_a_character_lies_across_them() -> None:
    text = "a" + "ü€😀" * 400_000
    assert UTF_8.decode(text.encode(), "strict") == text
    with pytest.raises(UnicodeDecodeError):
        UTF_8.decode(text.encode()[:-1], "strict")
    assert LATIN_1.encode(LATIN_1.decode(bytes(range(256)))) == bytes(range(256))
