"""`POST /pseudonyms`: which pseudonyms a person has, to find what concerns them. Nothing is kept."""

from collections.abc import Collection

from app.core.pseudonyms import Pseudonyms
from app.errors import CallerError, NoPseudonymKeysError
from app.handlers.reading import Reader
from app.handlers.reply import Reply, ok, reply_to
from app.handlers.schemas import PseudonymsRequest


class PseudonymHandler:
    """What the call does."""

    def __init__(self, *, pseudonyms: Pseudonyms | None, names: Collection[str], reader: Reader) -> None:
        """`names` are those of the rules (`Rules.names`); `pseudonyms` is None where there are no keys."""
        self._pseudonyms = pseudonyms
        self._names = frozenset(names)
        self._names_message = f"One of {', '.join(sorted(names))}."
        self._reader = reader
        self._schema = PseudonymsRequest()

    def find(self, body: bytes) -> Reply:
        """Answer with a value's pseudonyms under every key, the signing key's first."""
        try:
            request = self._reader.load(self._schema, self._reader.json(body))
            name, value = request["detector"], request["value"]
            if name not in self._names:
                raise self._reader.invalid({"detector": [self._names_message]})
            if self._pseudonyms is None:
                raise NoPseudonymKeysError("no keys for pseudonyms are configured (PSEUDONYM_KEYS_FILE)")
            marks = self._pseudonyms.marks(name, value)
        except CallerError as exc:
            return reply_to(exc)
        rows = [{"key": key_id, "pseudonym": mark} for key_id, mark in marks.items()]
        return ok({"detector": name, "pseudonyms": rows})
