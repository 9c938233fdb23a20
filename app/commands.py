"""`flask --app wsgi …`: `dead-letters`, for the events that the sink would not take; `pseudonym-keys`, to make keys.

Works beside a running service, on the same DATA_DIR: re-queued events go to a slot of the spool that nobody holds,
and a worker adopts it within a second; without one, the next start does.
"""

import re
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import wraps
from itertools import islice
from typing import Any, Protocol

import click
import orjson
from flask import Flask
from flask.cli import AppGroup

from app.core.dead_letters import Letter
from app.core.pseudonyms import KEY_ID
from app.errors import OperatorError


class Letters(Protocol):
    """The dead letters of a DATA_DIR."""

    def letters(self) -> Iterator[Letter]:
        """Yield each letter once."""
        ...

    def delete(self, letter_ids: Collection[str], only: Collection[Letter] | None = None) -> int:
        """Take letters away, or of those ids only these; return how many there were."""
        ...


class Requeue(Protocol):
    """Puts letters back into the spool, durably; raises OperatorError."""

    def __call__(self, letters: Sequence[Letter], *, restamp: bool) -> None:
        """With `restamp` each gets a new time and stream."""
        ...


def register(app: Flask, letters: Letters, requeue: Requeue) -> None:
    """Add the commands."""
    group = AppGroup("dead-letters", help="Events that the sink refused for a reason of their own.")

    @group.command("list")
    @click.option("--reason", help="Only those with this reason.")
    @click.option("--limit", type=click.IntRange(min=1), help="At most so many.")
    @click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with everything.")
    def list_letters(reason: str | None, limit: int | None, as_json: bool) -> None:  # noqa: FBT001 - click's way
        """List the letters: id, when, reason, service, event, event_id."""
        for letter in islice(_chosen(letters, (), reason), limit):
            labels = dict(letter.entry.labels)
            row = (letter.letter_id, letter.shown()["at"], letter.reason)
            columns = (*row, labels.get("service_name", ""), labels.get("event", ""), letter.entry.event_id)
            click.echo(orjson.dumps(letter.shown()).decode() if as_json else "  ".join(columns))

    @group.command("show")
    @click.argument("letter_id")
    def show(letter_id: str) -> None:
        """Show one letter whole."""
        letter = next(_chosen(letters, (letter_id,), None), None)
        if letter is None:
            raise click.ClickException("there is no dead letter with this id")
        click.echo(orjson.dumps(letter.shown(), option=orjson.OPT_INDENT_2).decode())

    @group.command("requeue")
    @_choice
    @click.option("--restamp", is_flag=True, help="With the present time, where Loki refuses theirs.")
    def requeue_letters(
        letter_ids: tuple[str, ...],
        reason: str | None,
        every: bool,  # noqa: FBT001 - click's way
        restamp: bool,  # noqa: FBT001 - click's way
    ) -> None:
        """Send letters again, as they were."""
        chosen = _asked_for(letters, letter_ids, reason, every=every)
        for start in range(0, len(chosen), _AT_ONCE):
            part = chosen[start : start + _AT_ONCE]
            try:
                requeue(part, restamp=restamp)
            except OperatorError as exc:
                raise click.ClickException(str(exc)) from exc
            letters.delete([letter.letter_id for letter in part], set(part))
        click.echo(f"{len(chosen)} re-queued")

    @group.command("delete")
    @_choice
    def delete(letter_ids: tuple[str, ...], reason: str | None, every: bool) -> None:  # noqa: FBT001 - click's way
        """Delete letters for good."""
        chosen = _asked_for(letters, letter_ids, reason, every=every)
        click.echo(f"{letters.delete([letter.letter_id for letter in chosen])} deleted")

    for command in group.commands.values():
        command.callback = _in_words(command.callback)
    app.cli.add_command(group)
    app.cli.add_command(_pseudonym_keys())


_KEY_BYTES = 32
"""As many as SHA-256 gives: a longer key adds nothing (RFC 2104, section 3)."""


def _pseudonym_keys() -> AppGroup:
    group = AppGroup("pseudonym-keys", help="The keys of pseudonyms (PSEUDONYM_KEYS_FILE).")

    @group.command("new")
    @click.option("--id", "key_id", required=True, callback=_key_id, help="Its name, new in the file: k2.")
    def new(key_id: str) -> None:
        """Print a new key as a row for the file."""
        click.echo(f'[[key]]\nid = "{key_id}"\nsecret = "{secrets.token_hex(_KEY_BYTES)}"')
        click.echo("The file's first row signs; the others are known.", err=True)

    return group


def _key_id(context: click.Context, parameter: click.Parameter, value: str) -> str:  # noqa: ARG001 - click's signature
    if not re.fullmatch(KEY_ID, value):
        raise click.BadParameter("1 to 16 of a-z, 0-9, _ and -, with a letter or digit first")
    return value


_AT_ONCE = 1000


def _in_words(call: Any) -> Callable[..., Any]:
    """Say what the disk refuses, without a stack."""

    @wraps(call)
    def wrapped(*args: Any, **options: Any) -> Any:
        try:
            return call(*args, **options)
        except OSError as exc:
            raise click.ClickException(f"the dead letters cannot be read or written ({exc.strerror})") from exc

    return wrapped


def _choice(command: Callable[..., Any]) -> Callable[..., Any]:
    """Which letters a command is about."""
    for option in (
        click.option("--all", "every", is_flag=True, help="All of them."),
        click.option("--reason", help="All with this reason."),
        click.argument("letter_ids", nargs=-1),
    ):
        command = option(command)
    return command


def _asked_for(letters: Letters, letter_ids: Sequence[str], reason: str | None, *, every: bool) -> list[Letter]:
    if sum((bool(letter_ids), reason is not None, every)) != 1:
        raise click.UsageError("say which: ids, --reason or --all")
    chosen = list(_chosen(letters, letter_ids, reason))
    if len(chosen) < len(set(letter_ids)):
        raise click.ClickException(f"there is no dead letter with {len(set(letter_ids)) - len(chosen)} of these ids")
    return chosen


def _chosen(letters: Letters, letter_ids: Sequence[str], reason: str | None) -> Iterator[Letter]:
    return (
        letter
        for letter in letters.letters()
        if (not letter_ids or letter.letter_id in letter_ids) and (reason is None or letter.reason == reason)
    )
