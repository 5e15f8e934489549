"""Mailboxes in which the driver leaves messages for jobs: one small actor on its own node.

Ray has no way to say something to a task that runs; an actor can be asked from everywhere. Whatever
becomes of it, no job fails: a question that stays unanswered lets its trial continue.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from contextlib import suppress
from typing import Any, NamedTuple

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

MOST_WAITING = 100_000
"""Jobs that may wait for a message at once."""
PATIENCE_SECONDS = 300.0
"""How long a trial waits for an answer, which the loss of the actor may have cost."""
SECONDS_BETWEEN_TRIES = 1.0


class Answer(NamedTuple):
    """Says whether a trial continues after a step: `prune` is why not, or empty."""

    step: int
    prune: str


class Stop(NamedTuple):
    """Asks a trial to end at its next report."""


class _Closed(NamedTuple):
    """Ends the thread that listens."""


Message = Answer | Stop | _Closed


class _Boxes:
    """The actor's inside; a mailbox is there as soon as it is named."""

    def __init__(self) -> None:
        self._boxes: dict[str, asyncio.Queue[Message]] = {}

    async def send(self, name: str, message: Message) -> None:
        """Leave a message."""
        await self._box(name).put(message)

    async def receive(self, name: str) -> Message:
        """Return the next message, as soon as there is one."""
        message = await self._box(name).get()
        if isinstance(message, _Closed):
            del self._boxes[name]
        return message

    def _box(self, name: str) -> asyncio.Queue[Message]:
        return self._boxes.setdefault(name, asyncio.Queue())


class Mailboxes:
    """The driver's end. Jobs get `actor`, by which they listen."""

    def __init__(self) -> None:
        here = ray.get_runtime_context().get_node_id()
        settings = {
            "num_cpus": 0,
            "max_concurrency": MOST_WAITING,
            "max_restarts": -1,
            "max_task_retries": -1,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False),
        }
        self.actor: Any = ray.remote(_Boxes).options(**settings).remote()

    def send(self, name: str, message: Answer | Stop) -> None:
        """Leave a message for a job; return at once."""
        self.actor.send.remote(name, message)

    def close(self) -> None:
        """End the actor."""
        with suppress(Exception):
            ray.kill(self.actor)


class MailboxControl:
    """A job's end of its mailbox; see `Control`. A thread listens until this is closed.

    Args:
        actor: of `Mailboxes`.
        name: of the mailbox.
    """

    def __init__(self, actor: Any, name: str) -> None:
        self._actor, self._name = actor, name
        self._answers: queue.SimpleQueue[Answer | None] = queue.SimpleQueue()
        """None stands for one that may be lost."""
        self._is_stopping = False
        threading.Thread(target=self._listen, daemon=True).start()

    def answer(self, step: int) -> str:
        """Wait for the answer to the question after a step."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        with suppress(queue.Empty):
            while (left := give_up - time.monotonic()) > 0:
                answer = self._answers.get(timeout=left)
                if answer is None or answer.step == step:
                    return answer.prune if answer else ""
        return ""

    def is_stopping(self) -> bool:
        """Return whether the driver has said so."""
        return self._is_stopping

    def close(self) -> None:
        """End the thread, and forget the mailbox."""
        self._actor.send.remote(self._name, _Closed())

    def _listen(self) -> None:
        # not repeated by Ray: whoever waits is to know that messages may be lost
        receive = self._actor.receive.options(max_task_retries=0)
        while True:
            try:
                message = ray.get(receive.remote(self._name))
            except ray.exceptions.RayError:  # it is being started again, or the driver ends
                self._answers.put(None)
                time.sleep(SECONDS_BETWEEN_TRIES)
                continue
            if isinstance(message, Answer):
                self._answers.put(message)
            elif isinstance(message, Stop):
                self._is_stopping = True
            else:
                return
