"""A value is masked in whatever ordinary form it comes back."""

import base64
import html
import json
import random
import textwrap
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote, quote_plus, unquote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.masking import Redactor, scrub
from runtime.tokens import MAX_TOKEN_CHARACTERS, MAX_TOKENS
from tests.support.growth import FOURFOLD_LIMIT, measure_growth

SECRET = 'p&ss "w/rd" <ü>+1'
ALIAS = "[credential.shop.password]"


def make(*values: str) -> Redactor:
    redactor = Redactor()
    for value in values:
        redactor.add("credential.shop.password", value)
    return redactor


FORMS = {
    "as it is": SECRET,
    "upper case": SECRET.upper(),
    "percent": quote(SECRET, safe=""),
    "percent, path": quote(SECRET),
    "percent, lower": quote(SECRET, safe="").replace("%3C", "%3c").replace("%C3%BC", "%c3%bc"),
    "form": quote_plus(SECRET),
    "query": urlencode({"q": SECRET}).removeprefix("q="),
    "html": html.escape(SECRET),
    "html, double quotes only": html.escape(SECRET, quote=False),
    "html, numeric": "".join(f"&#{ord(c)};" if not c.isalnum() else c for c in SECRET),
    "json": json.dumps(SECRET)[1:-1],
    "json, utf-8": json.dumps(SECRET, ensure_ascii=False)[1:-1],
    "json in json": json.dumps(json.dumps(SECRET)[1:-1])[1:-1],
    "percent, every byte": "".join(f"%{byte:02x}" for byte in SECRET.encode()),
    "html, every character": "".join(f"&#{ord(char)};" for char in SECRET),
    "html, every character, hexadecimal": "".join(f"&#x{ord(char):04X};" for char in SECRET),
    "json, every character": "".join(f"\\u{ord(char):04x}" for char in SECRET),
    "javascript, every byte": "".join(f"\\x{byte:02x}" for byte in SECRET.encode()),
    "hex": SECRET.encode().hex(),
    "hex, upper case": SECRET.encode().hex().upper(),
    "percent, every byte, twice": quote("".join(f"%{byte:02x}" for byte in SECRET.encode()), safe=""),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64, for urls": base64.urlsafe_b64encode(SECRET.encode()).decode(),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_usual_form_is_masked(form: str) -> None:
    masked = make(SECRET).clean(f"before {form} after")
    assert ALIAS in masked
    assert form not in masked
    assert masked.startswith("before ")
    assert masked.rpartition("]")[2].strip("=").endswith(" after")


@pytest.mark.parametrize("user", ["a", "ad", "ada"])
def test_a_password_in_basic_authentication_is_masked(user: str) -> None:
    sent = base64.b64encode(f"{user}:correct horse battery".encode()).decode()
    assert ALIAS in make("correct horse battery").clean(f"Authorization: Basic {sent}")


WRAPPED: dict[str, Callable[[bytes], str]] = {
    "MIME": lambda data: base64.encodebytes(data).decode(),
    "MIME, CRLF": lambda data: base64.encodebytes(data).decode().replace("\n", "\r\n"),
    "PEM": lambda data: textwrap.fill(base64.b64encode(data).decode(), 64),
    "for urls": lambda data: textwrap.fill(base64.urlsafe_b64encode(data).decode(), 76),
    "folded": lambda data: textwrap.fill(base64.b64encode(data).decode(), 75, subsequent_indent=" "),
    "breaks made spaces": lambda data: " ".join(base64.encodebytes(data).decode().split()),
    "json": lambda data: json.dumps(base64.encodebytes(data).decode()),
    "percent": lambda data: quote(base64.encodebytes(data).decode(), safe=""),
    "html": lambda data: base64.encodebytes(data).decode().replace("\n", "&#10;"),
}


@pytest.mark.parametrize("at", [20, 36, 37, 38, 50, 150])
@pytest.mark.parametrize("write", WRAPPED.values(), ids=WRAPPED)
def test_base64_broken_over_lines_is_masked(write: Callable[[bytes], str], at: int) -> None:
    data = f"{'.' * at}correct horse battery{',' * 150}".encode()
    masked = make("correct horse battery").clean_text(f"begin\n{write(data)}\nend")
    assert masked.startswith("begin\n")
    assert masked.endswith("\nend")
    assert masked.count(ALIAS) == 1
    left = unquote(html.unescape(masked.replace(ALIAS, "").replace("\\n", "\n")))
    digits = "".join(left.removeprefix("begin").removesuffix("end").split()).strip('"')
    assert len(digits) == len(base64.b64encode(data)) - (28 if at % 3 == 0 else 27)  # of 21 bytes, 6 bits each


def test_what_is_left_of_base64_broken_over_lines_is_masked() -> None:
    whole = base64.encodebytes(b"." * 39 + b"correct horse battery").decode()
    assert make("correct horse battery").clean_text(f"{whole[:72]}\n{whole[72:76]}…") == f"{whole[:52]}{ALIAS}…"


def test_values_are_masked_wherever_they_stand() -> None:
    redactor = make("48151623")
    value = {"48151623": [48151623, "x48151623y", 4.8151623, True, None], "deep": {"list": ["48151623"]}}
    masked = {ALIAS: [ALIAS, f"x{ALIAS}y", 4.8151623, True, None], "deep": {"list": [ALIAS]}}
    assert redactor.clean(value) == masked


def test_a_value_that_holds_another_one_is_masked_whole() -> None:
    assert make("horse", "horse battery").clean("horse battery, horse") == f"{ALIAS}, {ALIAS}"


def test_each_line_of_a_long_value_is_masked() -> None:
    assert make("-----BEGIN-----\nabcdef\n-----END-----").clean("saw abcdef") == f"saw {ALIAS}"


def test_what_is_left_of_a_value_that_was_cut_off_is_masked() -> None:
    assert (
        make("correct horse").clean("GET https://x.test/?q=Correct%20Ho… failed")
        == f"GET https://x.test/?q={ALIAS}… failed"
    )


def test_short_values_and_other_texts_are_left_alone() -> None:
    redactor = make("abc")
    assert not redactor.armed
    assert make("secret").clean("nothing to see") == "nothing to see"


@pytest.mark.parametrize(
    "text",
    ["ada", "Welcome, Ada!", "?user=ada&x", '{"user": "ada"}', "user=ADA", "ada@example.org", "<b>ada</b>", "ada's"],
)
def test_a_short_name_is_masked_as_a_word(text: str) -> None:
    redactor = Redactor()
    redactor.add("credential.shop.username", "ada", names=True)
    assert "[credential.shop.username]" in redactor.clean(text)
    assert "ada" not in redactor.clean(text).lower()
    assert redactor.values == []  # pictures are searched for parts of words


@pytest.mark.parametrize(
    "text",
    ["Canada", "ada-1", "adamant", "https://ada.example.org/", "https://x.org/ada/panel", "/ada", "ada.js", "%ada"],
)
def test_a_short_name_stays_a_part_of_words_and_addresses(text: str) -> None:
    redactor = Redactor()
    redactor.add("credential.shop.username", "ada", names=True)
    assert redactor.clean(text) == text


def test_a_short_name_of_a_header_is_masked_where_it_is_a_key() -> None:
    redactor = Redactor()
    redactor.add("credential.api.name", "X-Key", names=True)
    assert redactor.clean({"x-key": "1", "x-keys": "2"}) == {"[credential.api.name]": "1", "x-keys": "2"}


def test_a_word_that_opens_elsewhere_is_masked_wherever_it_stands() -> None:
    redactor = Redactor()
    redactor.add("credential.shop.username", "r00t", names=True)
    redactor.add("credential.shop.password", "r00t")
    redactor.add("credential.shop.username", "r00t", names=True)
    assert redactor.clean("xr00tx") == f"x{ALIAS}x"


def test_two_letters_are_no_name() -> None:
    redactor = Redactor()
    redactor.add("credential.shop.username", "is", names=True)
    assert not redactor.armed


def test_files_of_text_are_masked() -> None:
    redactor = make("müsli-1234")
    assert redactor.clean_bytes("müsli-1234".encode("utf-16"), "text/plain; charset=utf-16").decode("utf-16") == ALIAS
    assert redactor.clean_bytes("müsli-1234".encode("latin-1"), "text/html") == ALIAS.encode()
    assert redactor.clean_bytes(b'{"a":"m\\u00fcsli-1234"}', "application/ld+json") == b'{"a":"%s"}' % ALIAS.encode()
    assert make("1x2y").clean_bytes(b"is 1x2y", "application/octet-stream") == f"is {ALIAS}".encode()


@pytest.mark.parametrize("charset", ["punycode", "idna", "undefined", "unicode_escape", "utf-7", "nonsense"])
def test_what_a_file_is_called_does_not_choose_how_long_it_is_looked_at(charset: str) -> None:
    said = "-ü\\u0041 1x2y".encode()
    assert make("1x2y").clean_bytes(said, f"text/plain; charset={charset}") == said.replace(b"1x2y", ALIAS.encode())


@pytest.mark.parametrize("coding", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("media_type", ["application/octet-stream", "application/zip", "image/png", "", "text/plain"])
def test_a_value_is_masked_in_files_of_any_kind(media_type: str, coding: str) -> None:
    head, tail = b"\x89PNG\r\n\x1a\n\x00\xff\xfe\x80", bytes(range(255, -1, -1))
    masked = make("müsli-1234").clean_bytes(head + "müsli-1234".encode(coding) + tail, media_type)
    assert masked == head + ALIAS.encode() + tail


def test_a_value_is_masked_in_a_file_as_base64() -> None:
    said = b"\xff" + base64.b64encode(b"ada:m-sli-1234") + b"\xff"
    masked = make("m-sli-1234").clean_bytes(said, "application/octet-stream")
    assert ALIAS.encode() in masked
    assert masked[0] == masked[-1] == 0xFF


def test_what_is_left_of_hexadecimal_digits_is_masked() -> None:
    assert make("correct horse").clean(f"saw {b'correct'.hex()}… and on") == f"saw {ALIAS}… and on"
    assert (
        make("m-sli-1234").clean_bytes(b"\xff" + b"m-sli-1234".hex().encode(), "image/png") == b"\xff" + ALIAS.encode()
    )


def test_short_values_don_t_damage_what_is_no_text() -> None:
    picture = b"\x89PNG\xff 1x2y"
    assert make("1x2y").clean_bytes(picture, "image/png") == picture


def test_lines_of_the_processs_log_are_masked_while_a_run_lives() -> None:
    redactor = make("pass-phrase-7")
    assert scrub('{"event": "pass-phrase-7"}') == f'{{"event": "{ALIAS}"}}'
    assert redactor.armed


@given(st.text(min_size=8, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_no_value_survives(value: str, before: str, after: str) -> None:
    masked = make(value).clean(f"{before}{value}{after}")
    assert value.strip() not in masked or value.strip() in ALIAS


# --- how long it takes


TOKEN = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789-_", k=1_200))
SLOW = {
    "cut off nowhere": (TOKEN, lambda size: "hello … world " * size),
    "nothing but cuts": (TOKEN, lambda size: "…" * size),
    "cut off at each length": (TOKEN, lambda size: "".join(f"{TOKEN[: at % 1_200]}…" for at in range(3, size // 100))),
    "a value that repeats itself": ("a" * 8_000, lambda size: ("a" * 4_000 + "b" + "a" * 3_000 + "…") * size),
    "almost its hexadecimal digits": ("-abcdefgh12345", lambda size: b"-abcdefgh1234".hex() * size),
    "backslashes": ("-abcdefgh12345", lambda size: "abcdefgh12345 " + "\\" * size),
    "backslashes before a beginning": ('{"k": "abcdefgh"}', lambda size: ("\\" * 2_000 + "{") * size),
    "escapes": ("-abcdefgh12345", lambda size: "\\n\\t%41%FF%C3%BC&amp;&#65;\\u0041\\xff" * size),
    "escapes of escapes": ("-abcdefgh12345", lambda size: "%252525&amp;amp;\\\\\\\\u0041" * size),
    "escapes that never end": ("-abcdefgh12345", lambda size: "&#x000000&aaaaaaaa%2\\u00" * size),
    "lines of base64": ("-abcdefgh12345", lambda size: base64.encodebytes(b"-abcdefgh1234" * size).decode()),
    "breaks everywhere": ("-abcdefgh12345", lambda size: ("a" * 16 + " " * 80 + "\n") * size),
    "almost the value": ("-abcdefgh12345", lambda size: "-abcdefgh1234" * size),
    "the value": ("-abcdefgh12345", lambda size: "-abcdefgh12345 %2Dabcdefgh12345 " * size),
}


@pytest.mark.parametrize(("value", "write"), SLOW.values(), ids=SLOW)
def test_a_text_takes_time_in_proportion_to_its_length(value: str, write: Callable[[int], str]) -> None:

    def prepare(size: int) -> Callable[[], str]:
        # a long value is as long as the text asks for: what takes both of them takes a square
        redactor = make(value[: size // 100] if value == TOKEN else value)
        text = write(size)[:size]
        return lambda: redactor.clean_text(text)

    assert measure_growth(prepare, 30_000) < FOURFOLD_LIMIT


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("before", [524_288 - 10, 524_288, 524_288 * 2 - 1])
def test_a_value_is_found_across_the_pieces_of_a_long_text(form: str, before: int) -> None:
    text = "." * before + form + "." * 600_000
    masked = make(SECRET).clean_text(text)
    assert masked.replace(ALIAS, "").strip(".=") == ""
    assert masked.count(ALIAS) == 1


@pytest.mark.parametrize("size", range(4, 12))
@pytest.mark.parametrize("write", [str, quote, quote_plus, str.upper, lambda text: json.dumps(text)[1:-1], html.escape])
def test_what_is_left_of_a_value_is_masked_wherever_it_was_cut_off(size: int, write: Callable[[str], str]) -> None:
    left = write('cor"ect hörs&'[:size])
    assert make('cor"ect hörs&').clean(f"saw {left}… and on") == f"saw {ALIAS}… and on"


@pytest.mark.parametrize("left", ["cor%2", "cor%22%", "corr%C3", "corr%", "corr&#2", "corr&qu", "corr\\", "corr\\u00"])
def test_an_escape_may_be_cut_off_too(left: str) -> None:
    value = 'cor"ect' if left.startswith("cor%2") else "corrüct"
    masked = make(value).clean(f"saw {left}… and on")
    assert masked == (f"saw {left}… and on" if left == "cor%2" else f"saw {ALIAS}… and on")


# --- tokens of saved logins


def make_token(number: int, size: int = 24) -> str:
    return "".join(random.Random(number).choices("abcdefghijkmnpqrstuvwxyzABCDEFGHJK23456789-_+/", k=size))


MANY = [make_token(number) for number in range(400)]
LOGIN = "[profile.shop]"


def make_many(tokens: Iterable[str] = MANY) -> Redactor:
    redactor = Redactor()
    redactor.add_tokens("profile.shop", tokens)
    return redactor


TOKEN_FORMS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "upper case": str.upper,
    "percent": lambda token: quote(token, safe=""),
    "percent, every byte, twice": lambda token: quote("".join(f"%{byte:02x}" for byte in token.encode()), safe=""),
    "html, every character": lambda token: "".join(f"&#{ord(char)};" for char in token),
    "json, every character": lambda token: "".join(f"\\u{ord(char):04x}" for char in token),
    "hex": lambda token: token.encode().hex(),
    "base64": lambda token: base64.b64encode(token.encode()).decode(),
    "base64, inside": lambda token: base64.urlsafe_b64encode(f"a:{token}".encode()).decode(),
}


@pytest.mark.parametrize("write", TOKEN_FORMS.values(), ids=TOKEN_FORMS)
def test_each_of_many_tokens_is_masked_in_every_usual_form(write: Callable[[str], str]) -> None:
    redactor = make_many()
    for token in MANY[:: len(MANY) // 10]:
        masked = redactor.clean_text(f"före {write(token)} after")
        assert masked.startswith("före ")
        assert masked.endswith(" after")
        assert masked.count(LOGIN) == 1
        assert len(masked) <= len(f"före {LOGIN} after") + 6  # what base64 has around it


def test_a_token_is_masked_in_base64_over_lines_across_pieces_and_where_it_is_cut_off() -> None:
    redactor, token = make_many(), MANY[7]
    wrapped = base64.encodebytes(b"." * 45 + token.encode()).decode()
    assert LOGIN in redactor.clean_text(wrapped)
    assert token[:8] not in redactor.clean_text(f"saw {token[:12]}… and on")
    assert redactor.clean_text(f"saw {token[:12]}…") == f"saw {LOGIN}…"
    assert redactor.clean_text(f"{'.' * 524_280}{token}{'.' * 600_000}") == f"{'.' * 524_280}{LOGIN}{'.' * 600_000}"


def test_tokens_are_masked_beside_credentials_in_values_and_files_of_any_kind() -> None:
    redactor, token = make_many(), MANY[0]
    redactor.add("credential.shop.password", "correct horse")
    assert redactor.armed
    assert redactor.clean({token: ["correct horse", 1]}) == {LOGIN: [ALIAS, 1]}
    for coding in ("utf-8", "utf-16-le", "utf-16-be"):
        said = b"\x89\xfe" + token.encode(coding) + b"\x00\xff" + token.encode(coding)
        assert redactor.clean_bytes(said, "image/png") == b"\x89\xfe" + LOGIN.encode() + b"\x00\xff" + LOGIN.encode()
    assert scrub(f"log {token}") == f"log {LOGIN}"


def test_only_so_many_tokens_are_masked_and_it_is_said_how_many_are_not() -> None:
    redactor = Redactor()
    tokens = [make_token(number, 16) for number in range(MAX_TOKENS + 5)]
    assert redactor.add_tokens("profile.shop", tokens[:3]) == 0
    assert redactor.add_tokens("profile.shop", tokens) == 5
    assert redactor.add_tokens("profile.shop", tokens[:3]) == 0
    assert redactor.clean_text(tokens[-6]) == LOGIN
    assert redactor.clean_text(tokens[-5]) == tokens[-5]
    long = Redactor()
    assert long.add_tokens("profile.shop", [make_token(number, 4_096) for number in range(17)]) == 1
    assert MAX_TOKEN_CHARACTERS == 16 * 4_096


def test_tokens_that_are_added_in_threads_are_all_masked() -> None:
    redactor = Redactor()
    with ThreadPoolExecutor(4) as threads:
        adding = [threads.submit(redactor.add_tokens, "profile.shop", [token]) for token in MANY[:20]]
        redactor.add("credential.shop.password", "correct horse")
        assert [one.result() for one in adding] == [0] * 20
    assert redactor.clean_text(" ".join(MANY[:20])) == " ".join([LOGIN] * 20)
    assert redactor.clean_text("correct horse") == ALIAS


def test_tokens_in_a_text_are_named_as_they_stand_there() -> None:
    redactor = make_many([*MANY, "s%3Aq8Zr1tYw.bX0%2FvN3kLm"])
    digits = MANY[5].encode().hex()
    assert redactor.find_tokens(f"x{MANY[3].upper()}x {digits}") == {MANY[3].lower(), digits}
    assert redactor.find_tokens("saw s:q8Zr1tYw.bX0/vN3kLm") == {"s:q8zr1tyw.bx0/vn3klm"}
    assert redactor.holds_tokens
    assert not make("correct horse").holds_tokens


@pytest.mark.parametrize("escape", ["\\ud800", "%FF", "&#xe4;", "%C3%A4", "\\ud83d\\ude00"])
def test_a_token_may_hold_escapes_of_anything(escape: str) -> None:
    token = f"q8Zr1tYw{escape}vN3kLm2b"
    assert make_many([token]).clean_text(f"saw {token}") == f"saw {LOGIN}"


def test_looking_takes_no_longer_for_many_tokens() -> None:
    text = "<li class='a b'><a href='/products/123?x=%20y'>A lamp with three arms</a></li>\n" * 400

    def prepare(size: int) -> Callable[[], str]:
        redactor = make_many(MANY[: size // 100])
        return lambda: redactor.clean_text(text)

    assert measure_growth(prepare, 10_000) < FOURFOLD_LIMIT / 2


ALIKE = [f"{'a' * size}1bcdefgh" for size in range(16, 316)]
SLOW_TOKENS = {
    "much alike": (ALIKE, lambda size: "a" * size),
    "much alike, cut off": (ALIKE, lambda size: "a" * size + "…"),
    "much alike, cut off often": (ALIKE, lambda size: ("a" * 100 + "…") * size),
    "all of them": (MANY, lambda size: " ".join(MANY) * size),
    "almost": (MANY, lambda size: "".join(token[:-1] for token in MANY) * size),
}


@pytest.mark.parametrize(("tokens", "write"), SLOW_TOKENS.values(), ids=SLOW_TOKENS)
def test_a_text_takes_time_in_proportion_with_many_tokens(tokens: list[str], write: Callable[[int], str]) -> None:
    redactor = make_many(tokens)

    def prepare(size: int) -> Callable[[], str]:
        text = write(size)[-size:]
        return lambda: redactor.clean_text(text)

    assert measure_growth(prepare, 30_000) < FOURFOLD_LIMIT
