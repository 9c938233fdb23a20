"""N clients on N threads, taking tasks from one list. Nothing here knows what a task is."""

import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from app.replay.client import Client

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_pass(
    clients: Sequence[Client],
    tasks: Iterable[Task],
    play: Callable[[Client, Task], Iterable[Result]],
    stop: threading.Event,
) -> list[Result]:
    """Play every task once, each client on a thread of its own, and gather the results in no certain order.

    Returns when all tasks are done. The first error, or an interrupt, sets `stop`, lets the calls in flight
    end, and is raised.
    """
    todo: queue.SimpleQueue[Task] = queue.SimpleQueue()
    for task in tasks:
        todo.put(task)

    def drain(client: Client) -> list[Result]:
        results: list[Result] = []
        try:
            while not stop.is_set():
                results.extend(play(client, todo.get_nowait()))
        except queue.Empty:
            return results
        except BaseException:
            stop.set()
            raise
        return results

    with ThreadPoolExecutor(len(clients), thread_name_prefix="replay") as threads:
        futures = [threads.submit(drain, client) for client in clients]
        try:
            return [result for future in futures for result in future.result()]
        except BaseException:
            stop.set()
            raise
