"""Telephone numbers: thirty countries' plans, and the ways in which people write them.

Plans: the national numbering plans as ITU-T E.164's country pages summarise them. `#` is any digit, `@` is 2 to 9.
Each shape is written in the country's own grouping, without the trunk prefix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tests.corpus.chance import EN_DASH, HYPHEN, NBSP, full_width
from tests.corpus.model import Drawn

if TYPE_CHECKING:
    from tests.corpus.chance import Chance


class Plan(NamedTuple):
    """How a country writes its numbers."""

    code: str
    trunk: str
    shapes: tuple[str, ...]
    separator: str = " "
    """What people there put between the groups most often."""


_US_AREAS = "201 202 206 212 213 214 215 303 305 310 312 323 404 408 412 415 425 469 503 512 602 617 619 646 650 702 713 718 720 773 801 805 818 858 904 917 919 972"
_CA_AREAS = "204 226 236 250 289 306 343 365 403 416 418 438 450 506 514 519 579 581 587 604 613 647 705 709 778 780 807 819 867 902 905"

PLANS: dict[str, Plan] = {
    "US": Plan("1", "1", tuple(f"{area} @## ####" for area in _US_AREAS.split()), "-"),
    "CA": Plan("1", "1", tuple(f"{area} @## ####" for area in _CA_AREAS.split()), "-"),
    "GB": Plan(
        "44",
        "0",
        (
            "20 79## ####",
            "20 8### ####",
            "7700 900 ###",
            "77## ######",
            "78## ### ###",
            "7911 ### ###",
            "161 4## ####",
            "121 3## ####",
            "1223 3#####",
            "1865 2#####",
            "113 2## ####",
            "131 5## ####",
        ),
    ),
    "AU": Plan("61", "0", ("4## ### ###", "2 9### ####", "3 9### ####", "7 3### ####", "8 8### ####")),
    "IN": Plan("91", "0", ("98### #####", "97### #####", "8#### #####", "99########", "22 2### ####", "11 4### ####")),
    "DE": Plan(
        "49",
        "0",
        (
            "30 2#######",
            "89 3#######",
            "40 4######",
            "221 9######",
            "151 2#######",
            "160 9#######",
            "170 2######",
            "176 4#######",
            "711 2#####",
            "69 9#######",
        ),
    ),
    "AT": Plan("43", "0", ("664 1######", "660 4######", "1 5######", "316 8#####")),
    "CH": Plan("41", "0", ("79 4## ## ##", "78 6## ## ##", "44 2## ## ##", "22 7## ## ##")),
    "FR": Plan("33", "0", ("1 4# ## ## ##", "6 1# ## ## ##", "6 7# ## ## ##", "7 6# ## ## ##", "4 7# ## ## ##")),
    "BE": Plan("32", "0", ("47# ## ## ##", "48# ## ## ##", "2 5## ## ##", "3 2## ## ##")),
    "ES": Plan("34", "", ("6## ### ###", "6## ## ## ##", "91 4## ## ##", "93 2## ## ##")),
    "IT": Plan("39", "", ("347 #######", "333 ### ####", "320 #######", "02 4### ####", "06 5### ####")),
    "NL": Plan("31", "0", ("6 1### ####", "6 2#######", "20 6## ####", "10 4## ####"), "-"),
    "PL": Plan("48", "", ("50# ### ###", "60# ### ###", "69# ### ###", "22 6## ## ##", "12 4## ## ##")),
    "PT": Plan("351", "", ("91# ### ###", "96# ### ###", "21 3## ## ##")),
    "BR": Plan("55", "0", ("11 9####-####", "21 9####-####", "31 3###-####", "11 3###-####")),
    "MX": Plan("52", "", ("55 5### ####", "33 3### ####", "81 8### ####")),
    "SE": Plan("46", "0", ("70 2## ## ##", "73 5## ## ##", "8 5## ### ##", "31 7## ## ##"), "-"),
    "DK": Plan("45", "", ("2# ## ## ##", "31 ## ## ##", "40 ## ## ##")),
    "NO": Plan("47", "", ("4## ## ###", "9## ## ###", "22 ## ## ##")),
    "FI": Plan("358", "0", ("40 #######", "50 ### ####", "9 4### ####")),
    "IE": Plan("353", "0", ("87 2## ####", "86 8## ####", "1 4## ####")),
    "JP": Plan("81", "0", ("90 1### ####", "80 3### ####", "3 3### ####", "6 6### ####"), "-"),
    "KR": Plan("82", "0", ("10 2### ####", "10 9### ####", "2 7## ####", "51 7## ####"), "-"),
    "CN": Plan("86", "0", ("138 #### ####", "139 #### ####", "150########", "10 6### ####", "21 5### ####"), " "),
    "RU": Plan("7", "8", ("903 ### ## ##", "916 ### ## ##", "926 ### ## ##", "495 2## ## ##", "812 3## ## ##"), "-"),
    "TR": Plan("90", "0", ("532 ### ## ##", "542 ### ## ##", "505 ### ## ##", "212 2## ## ##")),
    "UA": Plan("380", "0", ("50 ### ## ##", "67 ### ## ##", "44 2## ## ##")),
    "ZA": Plan("27", "0", ("82 ### ####", "83 ### ####", "11 4## ####")),
    "SG": Plan("65", "", ("8### ####", "9### ####", "6@## ####")),
    "IL": Plan("972", "0", ("50 @## ####", "52 @## ####", "3 6## ####"), "-"),
    "NZ": Plan("64", "0", ("21 ### ###", "27 4## ####", "9 3## ####")),
}

_OF_LANGUAGE: dict[str, tuple[str, ...]] = {
    "en": ("US", "US", "US", "GB", "GB", "GB", "AU", "IN", "CA", "IE", "NZ", "ZA", "SG"),
    "de": ("DE", "DE", "DE", "AT", "CH"),
    "fr": ("FR", "FR", "FR", "BE", "CH"),
    "es": ("ES", "ES", "MX"),
    "it": ("IT",),
    "nl": ("NL", "NL", "BE"),
    "pl": ("PL",),
    "pt": ("BR", "BR", "PT"),
    "sv": ("SE",),
    "ja": ("JP",),
    "ko": ("KR",),
    "zh": ("CN",),
    "ru": ("RU", "RU", "UA"),
    "tr": ("TR",),
}
_EXTENSIONS = (" ext. ###", " x###", " ext ####", "x###", " extension ##", ", ext. ###", " Ext: ####")
_DURCHWAHL = ("-##", "-0", "-###")


def _national(chance: Chance, plan: Plan, country: str) -> Drawn:  # noqa: C901 - a branch for each way of writing
    """Write a number for people of the same country."""
    groups = chance.filled(chance.choice(plan.shapes)).replace("-", " ").split(" ")
    if country in {"US", "CA"}:
        return _north_american(chance, groups)
    way = chance.weighed({"usual": 5, "bare": 2, "dots": 1, "dashes": 1, "brackets": 1, "nbsp": 0.7, "slip": 0.7})
    first, rest = plan.trunk + groups[0], groups[1:]
    match way:
        case "usual":
            text = first + plan.separator + (plan.separator if country in {"JP", "KR"} else " ").join(rest)
        case "bare":
            text = first + "".join(rest)
        case "dots":
            text = ".".join((first, *rest))
        case "dashes":
            text = chance.choice(("-", "-", EN_DASH, HYPHEN)).join((first, *rest))
        case "brackets":
            text = f"({first}) " + " ".join(rest)
        case "nbsp":
            text = NBSP.join((first, *rest))
        case _:
            way, text = "wrong grouping", _slip(chance, [first, *rest])
    if country == "RU" and way == "usual":
        text = f"8 ({groups[0]}) " + "-".join(rest)
    if country in {"DE", "AT"} and chance.maybe(0.35):
        way, text = (
            "slash",
            f"{first}/{' '.join(rest)}" + (chance.filled(chance.choice(_DURCHWAHL)) if chance.maybe(0.3) else ""),
        )
    if country in {"JP", "CN", "KR"} and chance.maybe(0.15):
        way, text = "full width", full_width(text)
    return Drawn(text, f"{country} national, {way}")


def _north_american(chance: Chance, groups: list[str]) -> Drawn:
    area, office, line = groups
    shapes = {
        f"{area}-{office}-{line}": 5,
        f"({area}) {office}-{line}": 4,
        f"({area}){office}-{line}": 1,
        f"{area}.{office}.{line}": 2,
        f"{area} {office} {line}": 2,
        f"{area} {office}-{line}": 1,
        f"{area}{office}{line}": 2,
        f"{area}/{office}-{line}": 0.5,
        f"1-{area}-{office}-{line}": 1,
        f"1 ({area}) {office}-{line}": 0.5,
        f"{area}{EN_DASH}{office}{EN_DASH}{line}": 0.5,
        f"{area}{NBSP}{office}{NBSP}{line}": 0.5,
        f"{area} - {office} - {line}": 0.5,
        f"{area}-{office}{line}": 0.5,
        f"( {area} ) {office} {line}": 0.3,
    }
    text = chance.weighed(shapes)
    if chance.maybe(0.15):
        return Drawn(text + chance.filled(chance.choice(_EXTENSIONS)), "NANP with extension")
    return Drawn(text, "NANP national")


def _slip(chance: Chance, groups: list[str]) -> str:
    """Break the grouping where nobody would: a slipped, a doubled or a missing separator."""
    whole = "".join(groups)
    match chance.randrange(3):
        case 0:
            at = chance.randrange(3, len(whole) - 2)
            return f"{whole[:at]} {whole[at:]}"
        case 1:
            return "  ".join((groups[0], "".join(groups[1:])))
        case _:
            return "-".join(whole[at : at + 3] for at in range(0, len(whole), 3))


def _international(chance: Chance, plan: Plan, country: str) -> Drawn:
    groups = chance.filled(chance.choice(plan.shapes)).replace("-", " ").split(" ")
    code, joined = plan.code, "".join(groups)
    ways = {
        f"+{code} {' '.join(groups)}": ("spaced", 6.0),
        f"+{code}{joined}": ("E.164", 4.0),
        f"+{code}-{'-'.join(groups)}": ("dashes", 1.5),
        f"+{code}.{'.'.join(groups)}": ("dots", 0.7),
        f"+{code} ({groups[0]}) {' '.join(groups[1:])}": ("area in brackets", 1.5),
        f"(+{code}) {' '.join(groups)}": ("code in brackets", 1.0),
        f"+{code}{NBSP}{NBSP.join(groups)}": ("NBSP", 0.7),
        f"+{code} {EN_DASH.join(groups)}": ("en dash", 0.5),
        f"+ {code} {' '.join(groups)}": ("space after plus", 0.5),
        f"+{code} {_slip(chance, groups)}": ("wrong grouping", 1.0),
        full_width(f"+{code} {' '.join(groups)}"): ("full width", 0.4),
        f"00{code} {' '.join(groups)}": ("00 prefix", 0.7),
    }
    if plan.trunk == "0":
        ways[f"+{code} (0){groups[0]} {' '.join(groups[1:])}"] = ("trunk zero in brackets", 2.0)
        ways[f"+{code} (0) {' '.join(groups)}"] = ("trunk zero in brackets", 1.0)
        ways[f"+{code}(0){joined}"] = ("trunk zero in brackets", 0.6)
    text = chance.weighed({written: weight for written, (_, weight) in ways.items()})
    way = ways[text][0]
    if chance.maybe(0.06):
        text, way = text + chance.filled(chance.choice(_EXTENSIONS)), "extension"
    return Drawn(text, f"{country} international, {way}")


def with_context(chance: Chance, language: str, invented: str) -> Drawn:
    """Write a number that stands beside a word such as "call": a plan's, or an invented one that no plan knows."""
    country = chance.choice(_OF_LANGUAGE.get(language, _OF_LANGUAGE["en"]))
    match chance.weighed({"national": 6, "international": 2, "invented": 2}):
        case "national":
            return _national(chance, PLANS[country], country)
        case "international":
            return _international(chance, PLANS[country], country)
        case _:
            return Drawn(invented, f"invented {language}")


def unmistakable(chance: Chance) -> Drawn:
    """Write a number that is one wherever it stands: with its country code, or in a British or American shape."""
    if chance.maybe(0.65):
        while True:
            country = chance.choice(list(PLANS))
            drawn = _international(chance, PLANS[country], country)
            if drawn.text[0] in "+(+":
                return drawn
    area, office, line = chance.filled(chance.choice(PLANS["US"].shapes)).split(" ")
    if chance.maybe(0.25):
        area = "555"
    city, district, end = chance.filled(chance.choice(("20 79## ####", "161 4## ####", "121 3## ####"))).split(" ")
    mobile = chance.filled(
        chance.choice(("07700 900 ###", "07700 900###", "07911 ### ###", "077## ######", "078## ### ###"))
    )
    shapes = {
        f"{area}-{office}-{line}": 4,
        f"({area}) {office}-{line}": 4,
        f"1-{area}-{office}-{line}": 1,
        f"(0{city}) {district} {end}": 3,
        f"0{city} {district} {end}": 2,
        mobile: 4,
    }
    return Drawn(chance.weighed(shapes), "strong national shape")
