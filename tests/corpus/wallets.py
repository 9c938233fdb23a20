"""Addresses of crypto wallets, right by their own checks: Base58Check, Bech32 (BIP 173), Bech32m (BIP 350), EIP-55."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from tests.corpus.model import Drawn

if TYPE_CHECKING:
    from tests.corpus.chance import Chance

_BITCOIN58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_RIPPLE58 = "rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_MASK = (1 << 64) - 1


def base58(payload: bytes, alphabet: str = _BITCOIN58) -> str:
    """Return bytes in base 58."""
    value, made = int.from_bytes(payload, "big"), ""
    while value:
        value, rest = divmod(value, 58)
        made = alphabet[rest] + made
    return alphabet[0] * (len(payload) - len(payload.lstrip(b"\0"))) + made


def base58check(payload: bytes, alphabet: str = _BITCOIN58) -> str:
    """Return bytes in base 58 with four bytes of check."""
    check = hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    return base58(payload + check, alphabet)


def bech32(prefix: str, version: int | None, program: bytes) -> str:
    """Return a segregated-witness address (or Cardano's, without a version)."""
    bits = "".join(f"{byte:08b}" for byte in program)
    bits += "0" * (-len(bits) % 5)
    data = [] if version is None else [version]
    data += [int(bits[at : at + 5], 2) for at in range(0, len(bits), 5)]
    constant = 0x2BC830A3 if version else 1
    high = [ord(char) >> 5 for char in prefix] + [0] + [ord(char) & 31 for char in prefix]
    check = _polymod(high + data + [0] * 6) ^ constant
    data += [(check >> 5 * (5 - place)) & 31 for place in range(6)]
    return f"{prefix}1" + "".join(_BECH32[value] for value in data)


def _polymod(values: list[int]) -> int:
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for place, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> place & 1 else 0
    return check


def _rotated(value: int, by: int) -> int:
    return ((value << by) | (value >> (64 - by))) & _MASK if by else value


def _permute(lanes: list[list[int]]) -> None:
    """One Keccak-f[1600] permutation, in place (FIPS 202, section 3.3)."""
    lfsr = 1
    for _ in range(24):
        columns = [lanes[x][0] ^ lanes[x][1] ^ lanes[x][2] ^ lanes[x][3] ^ lanes[x][4] for x in range(5)]
        for x in range(5):
            mixed = columns[(x + 4) % 5] ^ _rotated(columns[(x + 1) % 5], 1)
            for y in range(5):
                lanes[x][y] ^= mixed
        x, y, held = 1, 0, lanes[1][0]
        for step in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            held, lanes[x][y] = lanes[x][y], _rotated(held, (step + 1) * (step + 2) // 2 % 64)
        for y in range(5):
            row = [lanes[x][y] for x in range(5)]
            for x in range(5):
                lanes[x][y] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5] & _MASK)
        for place in range(7):
            lfsr = (lfsr << 1 ^ (lfsr >> 7) * 0x171) & 0xFF
            if lfsr & 2:
                lanes[0][0] ^= 1 << ((1 << place) - 1)


def keccak256(data: bytes) -> bytes:
    """Return Ethereum's hash of at most 135 bytes (Keccak with the padding that came before SHA-3's)."""
    block = bytearray(136)
    block[: len(data)] = data
    block[len(data)] ^= 0x01
    block[135] ^= 0x80
    lanes = [[0] * 5 for _ in range(5)]
    for place in range(17):
        lanes[place % 5][place // 5] = int.from_bytes(block[8 * place : 8 * place + 8], "little")
    _permute(lanes)
    return b"".join(lanes[place][0].to_bytes(8, "little") for place in range(4))


def ethereum(chance: Chance) -> str:
    """Return an address with EIP-55's check in its capitals."""
    digits = chance.hexed(40)
    check = keccak256(digits.encode()).hex()
    return "0x" + "".join(
        char.upper() if int(nibble, 16) > 7 else char for char, nibble in zip(digits, check, strict=False)
    )


def wallet(chance: Chance) -> Drawn:
    """Write a wallet's address."""
    h20, h32 = chance.randbytes(20), chance.randbytes(32)
    ways = {
        "btc legacy": (lambda: base58check(b"\x00" + h20), 2),
        "btc p2sh": (lambda: base58check(b"\x05" + h20), 2),
        "btc bech32": (lambda: bech32("bc", 0, h20), 2),
        "btc bech32 script": (lambda: bech32("bc", 0, h32), 0.7),
        "btc taproot": (lambda: bech32("bc", 1, h32), 1.5),
        "btc bech32 upper case": (lambda: bech32("bc", 0, h20).upper(), 0.3),
        "eth": (lambda: ethereum(chance), 3),
        "eth lower case": (lambda: "0x" + h20.hex(), 2),
        "litecoin": (lambda: base58check(b"\x30" + h20), 0.7),
        "litecoin bech32": (lambda: bech32("ltc", 0, h20), 0.5),
        "dogecoin": (lambda: base58check(b"\x1e" + h20), 0.5),
        "ripple": (lambda: base58check(b"\x00" + h20, _RIPPLE58), 0.7),
        "tron": (lambda: base58check(b"\x41" + h20), 0.7),
        "solana": (lambda: base58(h32), 0.7),
        "cardano": (lambda: bech32("addr", None, b"\x01" + h32 + h20 + h20[:4]), 0.4),
    }
    name = chance.weighed({name: weight for name, (_, weight) in ways.items()})
    return Drawn(ways[name][0](), name)
