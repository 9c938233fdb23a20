"""`POST /pseudonyms`: the pseudonyms of a value under every key, for who must find or erase what concerns a person."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.contract.test_refusals import NOT_STRINGS, Refusal, by_name, refuse
from tests.contract.wire import CANARY, Caller
from tests.harness.service import RunningService

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRETS = {"k2": "5eed" * 16, "k1": "0123456789abcdef" * 2}
BODY = {"detector": "user_id", "value": "user123"}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    """Connect to a service in the midst of a rotation: k2 signs, k1 is known."""
    folder = tmp_path_factory.mktemp("keyed")
    keys = folder / "keys.toml"
    keys.write_text("".join(f'[[key]]\nid = "{key_id}"\nsecret = "{secret}"\n' for key_id, secret in SECRETS.items()))
    keys.chmod(0o400)
    with RunningService({"PSEUDONYM_KEYS_FILE": str(keys)}, folder=folder) as service, Caller(service) as connected:
        yield connected


def mark(key_id: str, name: str, value: bytes) -> str:
    """Make a mark as docs/pseudonyms.md says."""
    digest = hmac.new(bytes.fromhex(SECRETS[key_id]), b"mark\0" + name.encode() + b"\0" + value, hashlib.sha256)
    return f"[{name.upper()}:{key_id}:{digest.hexdigest()[:32]}]"


@pytest.mark.parametrize(
    ("name", "value", "normalised"),
    [
        ("user_id", "user123", "user123"),
        ("email", " Jo\u0308rg@M\xdcLLER.de", "jörg@müller.de"),
        ("phone", "+44 (20) 7946-0958", "+442079460958"),
        ("credit_card", "4111-1111-1111-1111", "4111111111111111"),
        ("person_name", "x" * 4096, "x" * 4096),
        ("address", "\U0001f600" * 4096, "\U0001f600" * 4096),
        ("national_id", "\0", "\0"),
    ],
    ids=["id", "e-mail", "phone", "card", "long", "long and escaped", "NUL"],
)
def test_marks_under_every_key(keyed: Caller, name: str, value: str, normalised: str):
    """By the keys' ids, the signing key's first, however the value is written."""
    answer = keyed.post("/pseudonyms", {"detector": name, "value": value})
    assert (answer.status, answer.content_type) == (200, "application/json")
    marks = [{"key": key_id, "pseudonym": mark(key_id, name, normalised.encode())} for key_id in ("k2", "k1")]
    assert answer.json == {"detector": name, "pseudonyms": marks}


def test_answer_is_described(keyed: Caller):
    """A real answer fits the schema that /openapi.json has for it, and the example is taken."""
    document = keyed.get("/openapi.json").json
    registry: Registry[Any] = Registry().with_resource("urn:openapi", DRAFT202012.create_resource(document))
    operation = document["paths"]["/pseudonyms"]["post"]
    answer = keyed.post("/pseudonyms", operation["requestBody"]["content"]["application/json"]["example"])
    assert answer.status == 200
    pointer = "urn:openapi#/paths/~1pseudonyms/post/responses/200/content/application~1json/schema"
    Draft202012Validator({"$ref": pointer}, registry=registry).validate(answer.json)
    assert set(answer.json) == {"detector", "pseudonyms"}


BAD_NAMES = {
    "unknown": CANARY.replace("-", "_"),
    "empty": "",
    "capitals": "USER_ID",
    "a field's own name": "userId",
    "newline behind": "user_id\n",
    "long": "user_id" * 5000,
    "a value": "bob@example.org",
}
REFUSALS = [
    *(
        Refusal(name, "/pseudonyms", {**BODY, "detector": bad}, 422, "invalid", "detector")
        for name, bad in BAD_NAMES.items()
    ),
    *(
        Refusal(f"{named}: {name}", "/pseudonyms", {**BODY, named: bad}, 422, "invalid", named)
        for named in BODY
        for name, bad in NOT_STRINGS.items()
    ),
    Refusal("value: empty", "/pseudonyms", {**BODY, "value": ""}, 422, "invalid", "value"),
    Refusal("value: 4,097 signs", "/pseudonyms", {**BODY, "value": CANARY.ljust(4097)}, 422, "invalid", "value"),
    Refusal("no value", "/pseudonyms", {"detector": "user_id"}, 422, "invalid", "value"),
    Refusal("no detector", "/pseudonyms", {"value": CANARY}, 422, "invalid", "detector"),
    Refusal("unknown field", "/pseudonyms", {**BODY, "extra_field": CANARY}, 422, "invalid", "extra_field"),
    Refusal("half a surrogate pair", "/pseudonyms", b'{"detector":"user_id","value":"\\ud800"}', 400, "not-json"),
]


@by_name(REFUSALS)
def test_refused_with_and_without_keys(caller: Caller, keyed: Caller, refusal: Refusal):
    """What does not fit is refused alike, whether there are keys or not, and what was sent is not repeated."""
    for service in (keyed, caller):
        members = refuse(service, refusal)
        assert "bob@" not in json.dumps(members)


def test_an_unknown_name_is_told_the_known_ones(keyed: Caller):
    """They are the service's own words: who must find a person's events need not guess them."""
    (message,) = refuse(keyed, REFUSALS[0])["errors"]["detector"]
    assert {"email", "phone", "user_id"} <= set(message.removeprefix("One of ").removesuffix(".").split(", "))


def test_without_keys(caller: Caller):
    """409: the request is sound, and no later try will be answered otherwise until the operator has set keys."""
    for _ in range(2):
        answer = caller.post("/pseudonyms", {"detector": "user_id", "value": CANARY})
        members = caller.assert_refused(answer, 409, "no-pseudonym-keys")
        assert "PSEUDONYM_KEYS_FILE" in members["detail"]
        assert "Retry-After" not in answer.headers


def test_nothing_is_stored_or_logged(keyed: Caller):
    """Neither the value, nor its marks, nor a secret stands in any file, metric or word of the service."""
    answer = keyed.post("/pseudonyms", {"detector": "user_id", "value": CANARY})
    assert answer.status == 200
    marks = [row["pseudonym"] for row in answer.json["pseudonyms"]]
    said = [keyed.get("/metrics").body, keyed.get("/readyz").body, keyed.service.stdout(), keyed.service.stderr()]
    # The tables' copies are what the operator wrote; their examples have words like the canary.
    written = [path for path in keyed.service.data_dir.rglob("*") if path.parent.name != "config"]
    files = [path.read_bytes() for path in written if path.is_file()]
    assert files
    texts = [text.encode() if isinstance(text, str) else text for text in (*said, *files)]
    for word in (CANARY, *marks, *SECRETS.values()):
        assert not any(word.encode() in text for text in texts)
