"""The only module that knows threads: it calls the engine in worker threads, and what comes back becomes messages.

The event loop never calls the engine itself. Questions (`ask`, `follow`) only read; within a group a newer question replaces an older one.
An operation (`start`) changes something: there is one at a time, it can be cancelled, and it reports progress.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any

from textual.app import App
from textual.message import Message
from textual.message_pump import MessagePump
from textual.worker import Worker, get_current_worker

from lamina.core.errors import Cancelled, LaminaError
from lamina.core.events import CancelToken, Event, Progress
from lamina.tui import messages
from lamina.tui.model.operation import Operation


def is_over(worker: Worker[Any]) -> bool:
    """Whether nothing comes of *worker* any more.

    Textual's own `is_finished` stays False for ever when a worker is cancelled, as by a newer one of its group, before its task had a turn.
    """
    return worker.is_finished or worker.is_cancelled


class RunningOperation:
    """An operation while it runs: what it reports becomes messages."""

    def __init__(self, operation: Operation, post: Callable[[Message], object]) -> None:
        self.operation = operation
        self.cancel = CancelToken()
        self._post = post
        self._began = time.monotonic()
        self._phase = ""

    def announce(self, command: str) -> None:
        """Say which command line does the same; called once the request is known."""
        self._post(messages.OperationStarted(self.operation, command))

    def tell(self, message: Message) -> None:
        """Let the app know what has happened before the operation is over."""
        self._post(message)

    def listen(self, event: Event) -> None:
        """The listener given to the engine."""
        if not isinstance(event, Progress):
            self._post(messages.NoticeGiven(self.operation, event.text))
            return
        now = time.monotonic()
        if event.phase != self._phase:
            self._began, self._phase = now, event.phase
        self._post(messages.ProgressMade(self.operation, event, int((now - self._began) * 1e6)))


class Bridge:
    """Runs the engine for one app."""

    def __init__(self, app: App[Any]) -> None:
        self._app = app
        self._work: RunningOperation | None = None
        self._lock = threading.Lock()
        self._wanted: dict[str, Callable[[], Message | None]] = {}
        self._followed: set[str] = set()

    @property
    def busy_with(self) -> Operation | None:
        """The operation that is running."""
        return self._work.operation if self._work else None

    def start(self, operation: Operation) -> bool:
        """Run *operation*; False if another one is still running."""
        if self._work is not None:
            return False
        work = self._work = RunningOperation(operation, self._app.post_message)
        self._app.run_worker(lambda: self._run(work), thread=True, exit_on_error=False, group="operation", description=operation.title)
        return True

    def cancel(self) -> bool:
        """Ask the running operation to stop at its next check; False if there is none."""
        if self._work is None:
            return False
        self._work.cancel.cancel()
        return True

    async def wait_idle(self) -> None:
        """Return when no operation is running."""
        while self._work is not None:
            await asyncio.sleep(0.02)

    def ask(self, group: str, *questions: Callable[[], Message | None], to: MessagePump | None = None) -> Worker[None]:
        """Answer *questions* one after the other in a thread, until a newer call for *group* replaces them.

        Each answer is posted to *to* (the app by default), and so is what could not be read, before the worker is finished.
        """
        whom = to or self._app

        def body() -> None:
            worker = get_current_worker()
            for question in questions:
                if worker.is_cancelled:
                    return
                answer, failure = _answered(group, question)
                if worker.is_cancelled:
                    return
                self._tell(whom, answer, failure)

        return self._app.run_worker(body, thread=True, exclusive=True, exit_on_error=False, group=group, description=group)

    def follow(self, group: str, question: Callable[[], Message | None], to: MessagePump) -> None:
        """Answer *question* to *to*, now or when the running one of *group* has ended; of those that wait only the newest is answered.

        For what follows a moving cursor: questions never pile up, and while a key is held each answer that comes in is shown.
        """
        with self._lock:
            self._wanted[group] = question
            if group in self._followed:
                return
            self._followed.add(group)

        def body() -> None:
            while True:
                with self._lock:
                    wanted = self._wanted.pop(group, None)
                    if wanted is None:
                        self._followed.discard(group)
                        return
                self._tell(to, *_answered(group, wanted))

        self._app.run_worker(body, thread=True, exit_on_error=False, group=f"{group} (followed)", description=group)

    def _tell(self, whom: MessagePump, answer: Message | None, failure: Message | None) -> None:
        # Messages to a screen bubble to the app, which tells the user what could not be read.
        message = failure or answer
        if message is not None and not whom.post_message(message):
            self._app.post_message(message)

    def _run(self, work: RunningOperation) -> None:
        operation = work.operation
        answer: Message
        try:
            result = operation.run(work)
        except Cancelled as error:
            answer = messages.OperationFailed(operation, str(error), cancelled=True)
        except (LaminaError, OSError) as error:
            answer = messages.OperationFailed(operation, str(error))
        except Exception as error:  # a bug of ours must not vanish with the thread
            answer = messages.OperationFailed(operation, f"{operation.title}: internal error: {type(error).__name__}: {error}")
            self._app.log.error(operation.title, error)
        else:
            answer = messages.OperationFinished(operation, result, operation.summarise(result), tuple(getattr(result, "notices", ())))
        finally:
            self._work = None
        self._app.post_message(answer)


def _answered(group: str, question: Callable[[], Message | None]) -> tuple[Message | None, Message | None]:
    """What *question* says, or why it could not be read."""
    try:
        return question(), None
    except Cancelled:
        return None, None
    except (LaminaError, OSError) as error:
        return None, messages.ReadFailed(group, str(error))
    except Exception as error:  # a bug of ours must not vanish with the thread
        return None, messages.ReadFailed(group, f"internal error: {type(error).__name__}: {error}")
