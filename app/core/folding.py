"""The form that text is matched in, so that no spelling of a character hides a value."""

import unicodedata


def fold(text: str) -> str:
    """Return NFKC text with ASCII digits and without invisible characters; plain ASCII as it is."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", text).translate(_FOLDING)


class _Folding(dict[int, int | None]):
    """ASCII for every decimal digit, and nothing for format characters (soft hyphen, zero width, bidi)."""

    def __missing__(self, code: int) -> int | None:
        sign = chr(code)
        category = unicodedata.category(sign)
        folded: int | None = code
        if category == "Nd":
            folded = ord("0") + unicodedata.decimal(sign)
        elif category == "Cf":
            folded = None
        self[code] = folded
        return folded


_FOLDING = _Folding()
