r"""A table of JSON texts, by kind, and whether the contract takes them (contract.md, "Refusals", 400).

Texts are bytes as they are sent. `\x` escapes stand for bytes, so that no editor changes them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tests.contract.wire import CANARY

if TYPE_CHECKING:
    from collections.abc import Iterator

Fault = Literal["", "text", "value"]
"""What is wrong: nothing; the text, which nobody can read on; or one value, which a batch's other events survive."""

MAX_DEPTH = 32
C = CANARY.encode()


@dataclass(frozen=True)
class JsonCase:
    """One text."""

    kind: str
    name: str
    raw: bytes
    fault: Fault

    @property
    def is_object(self) -> bool:
        """Whether it is meant as an object, so that it can be a payload itself."""
        return self.raw.lstrip(b" \t\r\n").startswith(b"{")


def arrays(levels: int, inner: bytes = b"") -> bytes:
    return b"[" * levels + inner + b"]" * levels


def objects(levels: int, inner: bytes = b"0") -> bytes:
    """Return nested objects; the innermost holds `inner`."""
    return b'{"a":' * levels + inner + b"}" * levels


def mixed(levels: int) -> bytes:
    """Return objects and arrays in turn, an object outermost."""
    opening = b"".join(b'{"a":' if level % 2 == 0 else b"[" for level in range(levels))
    closing = b"".join(b"}" if level % 2 == 0 else b"]" for level in reversed(range(levels)))
    return opening + b"0" + closing


def wide(levels: int) -> bytes:
    """Return an object of many shallow members and one deep one, the last."""
    members = b"".join(b'"m%d":[{}],' % number for number in range(40))
    return b"{" + members + b'"deep":' + arrays(levels - 1) + b"}"


STRUCTURE: dict[str, tuple[bytes, Fault]] = {
    "empty object": (b"{}", ""),
    "empty array": (b"[]", ""),
    "spaces inside": (b'{ "a" : [ 1 , 2 ] , "b" : { } }', ""),
    "tabs and returns": (b'{\t"a"\r:\t1\r}', ""),
    "newlines": (b'{\n  "a": 1\n}', ""),
    "space around": (b" \t {} \t ", ""),
    "all kinds": (b'{"a":null,"b":true,"c":false,"d":0,"e":"","f":[],"g":{}}', ""),
    "true": (b"true", ""),
    "false": (b"false", ""),
    "null": (b"null", ""),
    "trailing comma in an array": (b'["%s",]' % C, "text"),
    "trailing comma in an object": (b'{"a":"%s",}' % C, "text"),
    "leading comma in an array": (b'[,"%s"]' % C, "text"),
    "leading comma in an object": (b'{,"a":"%s"}' % C, "text"),
    "two commas": (b'["%s",,1]' % C, "text"),
    "only a comma": (b"[,]", "text"),
    "no comma": (b'["%s" 1]' % C, "text"),
    "no comma between members": (b'{"a":"%s" "b":1}' % C, "text"),
    "no colon": (b'{"a" "%s"}' % C, "text"),
    "two colons": (b'{"a"::"%s"}' % C, "text"),
    "no value": (b'{"%s":}' % C, "text"),
    "no key": (b'{:"%s"}' % C, "text"),
    "key alone": (b'{"%s"}' % C, "text"),
    "colon in an array": (b'["a":"%s"]' % C, "text"),
    "semicolon": (b'["%s";1]' % C, "text"),
    "key without quotes": (b"{canary:1}", "text"),
    "number as key": (b'{1:"%s"}' % C, "text"),
    "null as key": (b'{null:"%s"}' % C, "text"),
    "array as key": (b'{[]:"%s"}' % C, "text"),
    "single quotes": (b"{'a':'%s'}" % C, "text"),
    "backticks": (b"{`a`:`%s`}" % C, "text"),
    "typographic quotes": ("{\u201ca\u201d:1}".encode(), "text"),
    "line comment": (b'{"a":1} // %s' % C, "text"),
    "block comment": (b'{"a":/* %s */1}' % C, "text"),
    "hash comment": (b'{"a":1 # %s\r}' % C, "text"),
    "unclosed array": (b'["%s"' % C, "text"),
    "unclosed object": (b'{"a":"%s"' % C, "text"),
    "unclosed string": (b'"%s' % C, "text"),
    "closed wrongly": (b'{"a":["%s"}]' % C, "text"),
    "closed twice": (b'{"a":"%s"}}' % C, "text"),
    "closing alone": (b"]", "text"),
    "True": (b"True", "text"),
    "NULL": (b"NULL", "text"),
    "undefined": (b"undefined", "text"),
    "half a word": (b"tru", "text"),
    "word and more": (b"nullnull", "text"),
    "form feed": (b"\x0c{}", "text"),
    "vertical tab": (b"[1,\x0b2]", "text"),
    "no-break space": (b"[1,\xc2\xa02]", "text"),
    "line separator outside of a string": (b"[1,\xe2\x80\xa82]", "text"),
    "zero-width space": (b"[1,\xe2\x80\x8b2]", "text"),
    "NUL outside of a string": (b"[1,\x002]", "text"),
    "expression": (b"[1+1]", "text"),
    "call": (b'alert("%s")' % C, "text"),
    "markup": (b"<a>%s</a>" % C, "text"),
    "YAML": (b"a: %s" % C, "text"),
    "JSONP": (b'f({"a":"%s"})' % C, "text"),
    "guard against hijacking": (b')]}\',\r{"a":"%s"}' % C, "text"),
}

STRINGS: dict[str, tuple[bytes, Fault]] = {
    "empty string": (b'""', ""),
    "empty key": (b'{"":1}', ""),
    "blank key": (b'{" ":1}', ""),
    "all short escapes": (rb'"\"\\\/\b\f\n\r\t"', ""),
    "escaped in a key": (rb'{"\"\\\/\b\f\n\r\t":1}', ""),
    "escaped slash": (rb'"<\/script>"', ""),
    "bare slash": (b'"</script>"', ""),
    "\\u0000": (rb'{"a\u0000b":"c\u0000d"}', ""),
    "\\u001f": (rb'"\u001f\u007f\u0080\u009f"', ""),
    "escaped letter": (rb'{"\u0061":"\u0062"}', ""),
    "hex in capitals and not": (rb'"\u00e9\u00E9\uABCD\uabcd"', ""),
    "escaped pair": (rb'"\ud83d\ude00\uD834\uDD1E"', ""),
    "escaped pair in a key": (rb'{"\ud83d\ude00":1}', ""),
    "the last character": (rb'"\udbff\udfff"', ""),
    "escaped non-characters": (rb'"\ufffe\uffff\ufdd0"', ""),
    "escaped mark": (rb'"\ufeff"', ""),
    "escaped backslash and u": (rb'"\\ud800"', ""),
    "escaped backslash and u003a": (rb'{"\\u003a":"\\u003a"}', ""),
    "escaped quote": (rb'{"a\"b":"\u0022"}', ""),
    "colons in a string": (b'{"a":":::::"}', ""),
    "colons in a key": (b'{":":1,"::":2,":::":3}', ""),
    "escaped colons": (rb'{"\u003a":"\u003a\u003A"}', ""),
    "braces in strings": (b'{"{[":"]}","}":"{"}', ""),
    "40 braces in a string": (b'"' + b"{[" * 40 + b'"', ""),
    "line separators": ('"\u2028\u2029"'.encode(), ""),
    "DEL and C1": (b'"\x7f\xc2\x80\xc2\x9f"', ""),
    "every plane": ('"\u07ff\u0800\uffff\U00010000\U0010ffff"'.encode(), ""),
    "long string": (b'"' + b"x" * 200_000 + b'"', ""),
    "long string of escapes": (b'"' + rb"\u00e9" * 20_000 + b'"', ""),
    "long key": (b'{"' + b"k" * 200_000 + b'":1}', ""),
    "raw newline": (b'"%s\r"' % C, "text"),
    "raw tab": (b'"%s\t"' % C, "text"),
    "raw NUL": (b'"%s\x00"' % C, "text"),
    "raw escape": (b'"%s\x1b[0m"' % C, "text"),
    "raw control in a key": (b'{"%s\x01":1}' % C, "text"),
    "\\x": (rb'"' + C + rb'\x41"', "text"),
    "\\a": (rb'"' + C + rb'\a"', "text"),
    "\\v": (rb'"' + C + rb'\v"', "text"),
    "\\0": (rb'"' + C + rb'\0"', "text"),
    "\\'": (rb'"' + C + rb"\'" + b'"', "text"),
    "\\U": (rb'"' + C + rb'\U0001f600"', "text"),
    "\\u of 3": (rb'"' + C + rb'\u123"', "text"),
    "\\u of letters": (rb'"' + C + rb'\u12g4"', "text"),
    "\\u with a sign": (rb'"' + C + rb'\u-123"', "text"),
    "\\u with a space": (rb'"' + C + rb'\u 123"', "text"),
    "\\u with an underscore": (rb'"' + C + rb'\u1_23"', "text"),
    "\\u in braces": (rb'"' + C + rb'\u{1f600}"', "text"),
    "\\u of other digits": (rb'"' + C + rb"\u" + "\uff11\uff12\uff13\uff14".encode() + b'"', "text"),
    "backslash at the end": (rb'"' + C + b"\\", "text"),
    "two strings": (b'"a" "%s"' % C, "text"),
    "high surrogate": (rb'{"v":"\ud800","a":"' + C + b'"}', "value"),
    "low surrogate": (rb'{"v":"\udc00","a":"' + C + b'"}', "value"),
    "last surrogate": (rb'"\udfff"', "value"),
    "high surrogate before text": (rb'"\ud83dx"', "value"),
    "high surrogate before an escape": (rb'"\ud83d\u0041"', "value"),
    "two high surrogates": (rb'"\ud83d\ud83d"', "value"),
    "high surrogate before a pair": (rb'"\ud83d\ud83d\ude00"', "value"),
    "swapped pair": (rb'"\ude00\ud83d"', "value"),
    "surrogate in a key": (rb'{"\ud800":1}', "value"),
    "swapped pair in a key": (rb'{"a":{"\ude00\ud83d":1}}', "value"),
    "surrogate in capitals": (rb'"\uD800"', "value"),
    "surrogate behind umlauts": ('"\u00e4\u00f6\u00fc'.encode() + rb'\udfff"', "value"),
    "surrogate deep down": (objects(30, rb'"\ud800"'), "value"),
}

NUMBERS: dict[str, tuple[bytes, Fault]] = {
    "0": (b"0", ""),
    "-0": (b"-0", ""),
    "0.0": (b"0.0", ""),
    "-0.0": (b"-0.0", ""),
    "0e0": (b"0e0", ""),
    "-0e-0": (b"-0e-0", ""),
    "1": (b"1", ""),
    "-1": (b"-1", ""),
    "1.0": (b"1.0", ""),
    "1E+2": (b"1E+2", ""),
    "1e2": (b"1e2", ""),
    "1e-2": (b"1e-2", ""),
    "1e0002": (b"1e0002", ""),
    "1.50": (b"1.50", ""),
    "0.1": (b"0.1", ""),
    "0.1 + 0.2": (b"0.30000000000000004", ""),
    "17 digits": (b"0.12345678901234568", ""),
    "40 digits": (b"0.1234567890123456789012345678901234567890", ""),
    "half to even": (b"9007199254740993.0", ""),
    "2^53 + 1": (b"9007199254740993", ""),
    "18 digits": (b"999999999999999999", ""),
    "19 digits": (b"1000000000000000000", ""),
    "2^63 - 1": (b"9223372036854775807", ""),
    "-2^63": (b"-9223372036854775808", ""),
    "-2^63 + 1": (b"-9223372036854775807", ""),
    "2^63 as a float": (b"9223372036854775808.0", ""),
    "2^64 as a float": (b"1.8446744073709552e19", ""),
    "20 digits in a float": (b"12345678901234567890e-10", ""),
    "20 digits in a string": (b'"18446744073709551616"', ""),
    "20 digits in a key": (b'{"18446744073709551616":1}', ""),
    "1e308": (b"1e308", ""),
    "the largest float": (b"1.7976931348623157e308", ""),
    "the smallest float": (b"5e-324", ""),
    "a subnormal": (b"2.2250738585072011e-308", ""),
    "too small a float": (b"1e-400", ""),
    "too small a negative float": (b"-1e-400", ""),
    "zero to the power of 1000": (b"0e1000", ""),
    "5,000 digits after the point": (b"0." + b"0" * 4999 + b"1", ""),
    "300 digits as a float": (b"1" + b"0" * 299 + b".5", ""),
    "5,000 digits and an exponent": (b"1" + b"0" * 4999 + b"e-4990", ""),
    "10,000 numbers": (b"[" + b",".join(b"%d" % number for number in range(10_000)) + b"]", ""),
    "+1": (b"+1", "text"),
    "--1": (b"--1", "text"),
    "- 1": (b"- 1", "text"),
    "-": (b"-", "text"),
    "01": (b"01", "text"),
    "-01": (b"-01", "text"),
    "00": (b"00", "text"),
    "00.5": (b"00.5", "text"),
    ".5": (b".5", "text"),
    "5.": (b"5.", "text"),
    "-.5": (b"-.5", "text"),
    "5.e1": (b"5.e1", "text"),
    "1e": (b"1e", "text"),
    "1e+": (b"1e+", "text"),
    "1e1.5": (b"1e1.5", "text"),
    "1.2.3": (b"1.2.3", "text"),
    "1,5": (b"1,5", "text"),
    "1_000": (b"1_000", "text"),
    "1'000": (b"1'000", "text"),
    "0x10": (b"0x10", "text"),
    "0b1": (b"0b1", "text"),
    "0o7": (b"0o7", "text"),
    "1f": (b"1f", "text"),
    "1n": (b"1n", "text"),
    "1 000": (b"1 000", "text"),
    "fullwidth digit": ("\uff11".encode(), "text"),
    "arabic digit": ("\u0661".encode(), "text"),
    "minus sign": ("\u22121".encode(), "text"),
    "nan": (b"nan", "text"),
    "inf": (b"inf", "text"),
    "-inf": (b"-inf", "text"),
    "+Infinity": (b"+Infinity", "text"),
    "-NaN": (b"-NaN", "text"),
    "NaN": (b'["%s",NaN]' % C, "value"),
    "Infinity": (b'["%s",Infinity]' % C, "value"),
    "-Infinity": (b'["%s",-Infinity]' % C, "value"),
    "NaN in an object": (b'{"a":NaN,"b":"%s"}' % C, "value"),
    "1e309": (b'["%s",1e309]' % C, "value"),
    "-1e309": (b'["%s",-1e309]' % C, "value"),
    "1e999": (b'["%s",1e999]' % C, "value"),
    "1e99999999999": (b"1e99999999999", "value"),
    "just over the largest float": (b"1.7976931348623159e308", "value"),
    "400 digits as a float": (b"1" * 400 + b".5", "value"),
    "2^63": (b'["%s",9223372036854775808]' % C, "value"),
    "-2^63 - 1": (b'["%s",-9223372036854775809]' % C, "value"),
    "2^64 - 1": (b"18446744073709551615", "value"),
    "2^64": (b"18446744073709551616", "value"),
    "-2^64": (b"-18446744073709551616", "value"),
    "20 digits": (b"10000000000000000000", "value"),
    "20 nines": (b"99999999999999999999", "value"),
    "5,000 digits": (b"9" * 5000, "value"),
    "-5,000 digits": (b"-" + b"9" * 5000, "value"),
    "100,000 digits": (b"1" * 100_000, "value"),
    "2^63 in an object": (b'{"a":9223372036854775808,"b":"%s"}' % C, "value"),
    "2^63 deep down": (objects(30, b"9223372036854775808"), "value"),
}

ENCODINGS: dict[str, tuple[bytes, Fault]] = {
    "two bytes": (b'"\xc3\xa9"', ""),
    "three bytes": (b'"\xe4\xb8\xad"', ""),
    "four bytes": (b'"\xf0\x9f\x98\x80"', ""),
    "a decomposed letter": (b'{"e\xcc\x81":1,"\xc3\xa9":2}', ""),
    "mark within a string": (b'"a\xef\xbb\xbfb"', ""),
    "replacement character": (b'"\xef\xbf\xbd"', ""),
    "UTF-8 mark": (b"\xef\xbb\xbf{}", "text"),
    "UTF-8 mark alone": (b"\xef\xbb\xbf", "text"),
    "UTF-8 mark behind": (b"{}\xef\xbb\xbf", "text"),
    "UTF-8 mark in a list": (b"[\xef\xbb\xbf1]", "text"),
    "half a mark": (b"\xef\xbb{}", "text"),
    "UTF-16 LE": (f'{{"a":"{CANARY}"}}'.encode("utf-16-le"), "text"),
    "UTF-16 BE": (f'{{"a":"{CANARY}"}}'.encode("utf-16-be"), "text"),
    "UTF-16 with a mark": (f'{{"a":"{CANARY}"}}'.encode("utf-16"), "text"),
    "UTF-16 of a number": ("12".encode("utf-16-le"), "text"),
    "UTF-32 LE": (f'{{"a":"{CANARY}"}}'.encode("utf-32-le"), "text"),
    "UTF-32 BE": (f'{{"a":"{CANARY}"}}'.encode("utf-32-be"), "text"),
    "UTF-32 with a mark": (f'{{"a":"{CANARY}"}}'.encode("utf-32"), "text"),
    "UTF-7": (b"+AHsAfQ-", "text"),
    "Latin-1": (b'"%s\xe9"' % C, "text"),
    "Windows-1252": (b'"%s\x93\x94"' % C, "text"),
    "Shift JIS": (b'"%s\x93\xfa\x96\x7b"' % C, "text"),
    "GB 18030": (b'"%s\xd6\xd0"' % C, "text"),
    "EBCDIC": (b"\xc0\xd0", "text"),
    "continuation alone": (b'"%s\x80"' % C, "text"),
    "one of two bytes": (b'"%s\xc3"' % C, "text"),
    "two of three bytes": (b'"%s\xe4\xb8"' % C, "text"),
    "three of four bytes": (b'"%s\xf0\x9f\x98"' % C, "text"),
    "cut off by the end": (b'"%s\xf0\x9f' % C, "text"),
    "overlong slash": (b'"%s\xc0\xaf"' % C, "text"),
    "overlong NUL": (b'"%s\xc0\x80"' % C, "text"),
    "overlong quote": (b'"%s\xc0\xa2' % C, "text"),
    "overlong in three bytes": (b'"%s\xe0\x80\xaf"' % C, "text"),
    "overlong in four bytes": (b'"%s\xf0\x80\x80\xaf"' % C, "text"),
    "five bytes": (b'"%s\xf8\x88\x80\x80\x80"' % C, "text"),
    "beyond the last character": (b'"%s\xf4\x90\x80\x80"' % C, "text"),
    "high surrogate as bytes": (b'"%s\xed\xa0\x80"' % C, "text"),
    "pair as bytes (CESU-8)": (b'"%s\xed\xa0\xbd\xed\xb8\x80"' % C, "text"),
    "byte ff": (b'"%s\xff"' % C, "text"),
    "byte fe": (b'"%s\xfe"' % C, "text"),
    "bad byte in a key": (b'{"%s\xff":1}' % C, "text"),
    "bad byte outside of a string": (b'{"a":\xff"%s"}' % C, "text"),
    "gzip without its header": (b"\x1f\x8b\x08\x00\x00\x00", "text"),
    "MessagePack": (b"\x81\xa1a\x01", "text"),
}

NESTING: dict[str, tuple[bytes, Fault]] = {
    "31 arrays": (arrays(31), ""),
    "32 arrays": (arrays(32), ""),
    "31 objects": (objects(31), ""),
    "32 objects": (objects(32), ""),
    "32 mixed": (mixed(32), ""),
    "32 around a string of brackets": (arrays(32, b'"[[[[{{{{"'), ""),
    "32 in a wide object": (wide(32), ""),
    "1,000 arrays side by side": (b"[" + b",".join([b"[[]]"] * 1000) + b"]", ""),
    "1,000 objects side by side": (b"[" + b",".join([b'{"a":{}}'] * 1000) + b"]", ""),
    "33 arrays": (arrays(33, b'"%s"' % C), "value"),
    "33 empty arrays": (arrays(33), "value"),
    "33 objects": (objects(33), "value"),
    "33 empty objects": (objects(32, b"{}"), "value"),
    "33 mixed": (mixed(33), "value"),
    "33 in a wide object": (wide(33), "value"),
    "33 in the last of many": (b"[" + b"0," * 1000 + arrays(32) + b"]", "value"),
    "40 arrays": (arrays(40), "value"),
    "100 mixed": (mixed(100), "value"),
    "200 arrays": (arrays(200), "value"),
    "254 arrays": (arrays(254), "value"),
    "255 arrays": (arrays(255), "value"),
    "256 objects": (objects(256), "value"),
    "300 mixed": (mixed(300), "value"),
    "500 objects": (objects(500), "value"),
    "900 arrays": (arrays(900), "value"),
    "33 and not closed": (b"[" * 33, "text"),
    "300 and not closed": (b"[" * 300, "text"),
    "100,000 opening brackets": (b"[" * 100_000, "text"),
    "30,000 opening objects": (b'{"a":' * 30_000, "text"),
    "100,000 closing brackets": (b"]" * 100_000, "text"),
}

BEYOND_PARSERS: dict[str, bytes] = {
    "1,023 arrays": arrays(1023),
    "1,024 arrays": arrays(1024),
    "1,025 arrays": arrays(1025),
    "1,024 objects": objects(1024),
    "3,000 mixed": mixed(3000),
    "100,000 arrays": arrays(100_000),
    "30,000 objects": objects(30_000),
}
"""Deeper than any parser goes: refused everywhere. In an array no event can then be told from the next."""

DUPLICATES: dict[str, tuple[bytes, Fault]] = {
    "equal values, other keys": (b'{"a":1,"b":1}', ""),
    "keys that differ in case": (b'{"a":1,"A":2}', ""),
    "keys that differ by a space": (b'{"a":1,"a ":2}', ""),
    "keys that differ in NFC": ('{"\u00e9":1,"e\u0301":2}'.encode(), ""),
    "keys alike in other objects": (b'[{"a":1},{"a":2},{"b":{"a":3}}]', ""),
    "key and its child": (b'{"a":{"a":{"a":1}}}', ""),
    "key and escaped backslash": (rb'{"\u0061":1,"\\u0061":2}', ""),
    "key with an escaped colon": (rb'{"a\u003a":1,"a":2}', ""),
    "colon keys with escapes": (rb'{":":1,"\u003a\u003a":":\u003A:"}', ""),
    "10,000 keys": (b"{" + b",".join(b'"k%d":%d' % (n, n) for n in range(10_000)) + b"}", ""),
    "two": (b'{"a":"%s","a":1}' % C, "value"),
    "two alike": (b'{"a":"%s","a":"%s"}' % (C, C), "value"),
    "two apart": (b'{"a":"%s","b":2,"c":3,"a":1}' % C, "value"),
    "three": (b'{"a":"%s","a":1,"a":2}' % C, "value"),
    "empty keys": (b'{"":"%s","":1}' % C, "value"),
    "in a list": (b'[1,{"a":"%s","a":1}]' % C, "value"),
    "in a child": (b'{"b":{"a":"%s","a":1}}' % C, "value"),
    "in a child that is dropped": (b'{"a":{"b":"%s","b":1},"c":2}' % C, "value"),
    "of objects": (b'{"a":{"x":"%s"},"a":{"y":1}}' % C, "value"),
    "of an object by a number": (b'{"a":{"x":"%s","y":{}},"a":1}' % C, "value"),
    "the last is empty": (b'{"a":"%s","a":{}}' % C, "value"),
    "escaped and not": (rb'{"\u0061":"' + C + rb'","a":1}', "value"),
    "not and escaped": (rb'{"a":"' + C + rb'","\u0061":1}', "value"),
    "escaped in capitals and not": (rb'{"\u00e9":"' + C + rb'","\u00E9":1}', "value"),
    "escaped and in bytes": (rb'{"\u00e9":"' + C + b'","\xc3\xa9":1}', "value"),
    "escaped slash and not": (rb'{"a/b":"' + C + rb'","a\/b":1}', "value"),
    "escaped newline, two ways": (rb'{"a\nb":"' + C + rb'","a\u000ab":1}', "value"),
    "escaped quote, two ways": (rb'{"\"":"' + C + rb'","\u0022":1}', "value"),
    "escaped pair and in bytes": (rb'{"\ud83d\ude00":"' + C + b'","\xf0\x9f\x98\x80":1}', "value"),
    "escaped NUL": (rb'{"\u0000":"' + C + rb'","\u0000":1}', "value"),
    "hidden by an escaped colon": (rb'{"a":"' + C + rb'","a":"\u003a"}', "value"),
    "hidden by an escaped colon in capitals": (rb'{"a":"' + C + rb'","a":"\u003A"}', "value"),
    "hidden by an escaped colon elsewhere": (rb'{"a":"' + C + rb'","a":1,"b":"\u003a"}', "value"),
    "hidden by an escaped colon in a key": (rb'{"\u003a":"' + C + rb'",":":1}', "value"),
    "hidden by a colon that is dropped": (rb'{"a":":","a":"\u003a\u003a"}', "value"),
    "hidden by many colons": (b'{"a":":::::::","a":"%s"}' % C, "value"),
    "hidden by colons that are kept": (b'{"a":"%s","a":":::::::"}' % C, "value"),
    "beside a long number": (b'{"a":"%s","a":1234567890123456789}' % C, "value"),
    "beside a rounded number": (b'{"a":"%s","a":0.1000000000000000000000}' % C, "value"),
    "beside an escaped surrogate pair": (rb'{"a":"' + C + rb'","a":"\ud83d\ude00"}', "value"),
    "behind a dropped duplicate": (b'{"x":{"a":"%s","a":1},"x":2}' % C, "value"),
    "the same twice in depth": (objects(29, b'{"a":"%s","a":1}' % C), "value"),
    "10,000 alike": (b"{" + b",".join([b'"a":0'] * 10_000) + b"}", "value"),
    "the last of 10,000": (b'{"x":0,' + b",".join(b'"k%d":0' % n for n in range(10_000)) + b',"x":1}', "value"),
    "long keys alike": (b'{"' + b"k" * 50_000 + b'":1,"' + b"k" * 50_000 + b'":2}', "value"),
}

WHOLE: dict[str, tuple[bytes, Fault]] = {
    "nothing": (b"", "text"),
    "space": (b" ", "text"),
    "all blanks": (b" \t\r", "text"),
    "NUL": (b"\x00", "text"),
    "two documents": (b'{} {"a":"%s"}' % C, "text"),
    "two documents without a space": (b"{}{}", "text"),
    "two numbers": (b"1 2", "text"),
    "two in a row": (b"[],[]", "text"),
    "NUL behind": (b"{}\x00", "text"),
    "NULs behind": (b"{}" + b"\x00" * 100, "text"),
    "word behind": (b"{}%s" % C, "text"),
    "quote behind": (b'{}"', "text"),
    "backslash behind": (b"{}\\", "text"),
    "control behind": (b"{}\x1a", "text"),
    "record separator before": (b"\x1e{}", "text"),
    "a form's body": (b"a=%s&b=1" % C, "text"),
    "60,000 spaces": (b" " * 30_000 + b"{}" + b" " * 30_000, ""),
}


def _cases() -> Iterator[JsonCase]:
    tables = {
        "structure": STRUCTURE,
        "string": STRINGS,
        "number": NUMBERS,
        "encoding": ENCODINGS,
        "nesting": NESTING,
        "duplicate": DUPLICATES,
        "whole": WHOLE,
    }
    for kind, table in tables.items():
        for name, (raw, fault) in table.items():
            yield JsonCase(kind, name, raw, fault)


CASES = tuple(_cases())
