"""
The parts of one run, put together: each is created here, and given what it works with.

The parts that exist before the loop (the dispatcher, the deadline, the guard of the process) are made by `Run`, those that
live in it by `LoopParts`. `runner` and `embedded` are the two ways to use them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import signal
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from graceful._core import clock
from graceful._core.deadline import Deadline
from graceful._core.errors import Interrupted, StateError
from graceful._core.settings import Settings, taken_notify_variables
from graceful._core.types import Cause, EventKind, describe
from graceful._hooks.active import ActiveHooks
from graceful._hooks.blocking import BlockingLimit
from graceful._hooks.hook import Hook, Stage, described
from graceful._hooks.hook_set import HookSet
from graceful._hooks.stuck import StuckReporter, still_running
from graceful._hooks.supervisor import Supervisor
from graceful._loop.abandoned import keep_abandoned
from graceful._loop.cancellation import Cancellation
from graceful._loop.children import Children
from graceful._loop.critical import CriticalBlocks
from graceful._loop.exception_handler import ExceptionHandler
from graceful._loop.jobs import ExecutorJobs
from graceful._loop.ownership import Ownership
from graceful._loop.stop_notice import StopNotice
from graceful._loop.strays import StrayReaper
from graceful._loop.tasks import SupervisedTasks
from graceful._loop.unretrieved import UnretrievedExceptions
from graceful._loop.waiting import Waiting
from graceful._observe.journal import Journal
from graceful._observe.last_words import last_words, trouble
from graceful._observe.log import log
from graceful._observe.observers import Observer, Observers
from graceful._observe.report import Report
from graceful._observe.report_file import write_report
from graceful._process.handlers import in_main_thread
from graceful._process.termination_log import TerminationLog
from graceful._run.conclusion import exit_status, status_so_far, what_to_raise
from graceful._run.dispatcher import Dispatcher
from graceful._run.drain import Drain
from graceful._run.exception_hooks import ExceptionHooks
from graceful._run.failure_intake import FailureIntake
from graceful._run.failures import Failures
from graceful._run.late_hooks import LateHooks, check_stages
from graceful._run.lifecycle import Lifecycle
from graceful._run.process_guard import ProcessGuard, simulated_guards
from graceful._run.progress import Progress
from graceful._run.serving import Serving
from graceful._run.shutdown import Shutdown
from graceful._run.shutdown_hooks import ShutdownHooks
from graceful._run.signal_hooks import SignalHooks
from graceful._run.startup import Startup
from graceful._run.view import View
from graceful._run.work import Work

if TYPE_CHECKING:  # or each program would load what only the live view needs
    from graceful._observe.live_state import ListRows

__all__ = ["LoopParts", "Run"]


class Run:
    """
    Args:
        hooks: Every hook, in the order of registration.
        settings: What the app was made with.
        observers: Are told what happens; the list may grow.
        owns_loop: Whether every task of the loop is cancelled in the end, or only supervised ones.

    Attributes:
        guard_type: What guards the process.
        report: What happened, once the run is over; `None` before.
        parts: The parts that live in the loop; `None` before it runs.

    Raises:
        OrderError: The hooks' `after=` cannot be satisfied.
    """

    guard_type: ClassVar[type[ProcessGuard]] = ProcessGuard

    def __init__(
        self, hooks: Sequence[Hook], settings: Settings, observers: list[Observer], *, owns_loop: bool
    ) -> None:
        self.report: Report | None = None
        self.parts: LoopParts | None = None
        self.hooks = HookSet(hooks)
        self.settings = settings
        self.owns_loop = owns_loop
        self.deadline = Deadline(settings.grace)
        self.observers = Observers(settings.name, observers, self._observer_failed)
        self.journal = Journal(self.observers)
        self.failures = Failures(self.journal)
        self.dispatcher = Dispatcher(
            settings.debounce,
            self.deadline,
            self.journal,
            self.failures,
            on_deadline_changed=self._deadline_changed,
            on_force=self._force,
            on_answer=self._answer,
            on_wake=self._wake,
            interrupt_main_thread=self._interrupt_main_thread,
        )
        self.active = ActiveHooks(self.deadline, self.journal, self.observers)
        self.stuck = StuckReporter(self.deadline, self.journal)
        self.intake = FailureIntake(self.dispatcher, self.failures, self.stuck, self._label)
        self.signal_hooks = SignalHooks(self.hooks.of(Stage.SIGNAL), self.intake, self.observers)
        self.termination_log = TerminationLog(settings.termination_log)
        self.guard = self._make_guard()
        self._has_main = False

    def _make_guard(self) -> ProcessGuard:
        """The guard of the process, or what takes its place in a simulation."""
        return simulated_guards.get().get(self.guard_type, self.guard_type)(
            self.settings,
            self.deadline,
            self.dispatcher,
            self.signal_hooks,
            may_block_until=self.may_block_until,
            still_running=self.still_running,
            trouble_so_far=self.trouble_so_far,
            termination_log=self.termination_log,
        )

    def enter_loop(self, loop: asyncio.AbstractEventLoop) -> LoopParts:
        """The loop runs: create what lives in it."""
        self.parts = LoopParts(self, loop)
        self.dispatcher.attach(loop)
        if self.dispatcher.stopping:  # a signal or stop() before the loop
            self.parts.shutdown_begins()
        return self.parts

    @contextlib.contextmanager
    def told_to_manager(self, loop: asyncio.AbstractEventLoop) -> Generator[None]:
        """Tell the service manager what happens in the block, if one listens, and this run speaks for the process."""
        if not in_main_thread() or simulated_guards.get():
            yield
            return
        with taken_notify_variables() as variables:
            if variables is None:
                yield
                return
            from graceful._observe.systemd import ServiceManager  # here, because few programs need it

            manager = ServiceManager(variables, self.deadline, loop)
            self.observers.add_first(manager)
            try:
                yield
            finally:
                manager.close()

    def admit_late(self, app: str, hooks: Sequence[Hook]) -> Callable[[], None]:
        """
        Check hooks that are registered while the app runs.

        Args:
            app: What to call the app in a message.
            hooks: The hooks.

        Returns:
            A function that lets them join the run.

        Raises:
            StateError: It is too late for one of them, or this is not the place to register it.
            OrderError: Their `after=` cannot be satisfied.
        """
        late = self.hooks.unknown(hooks)
        check_stages(app, late)
        if (parts := self.parts) is not None:
            return parts.late_hooks.admit(late)
        if late:
            raise StateError(f"{late[0]} was registered while {app} starts: do it before run(), or in main")
        return lambda: None

    # --- callbacks: what the parts below are given -----------------------------------------------------------------

    def _deadline_changed(self) -> None:
        self.guard.deadline_changed()

    def _force(self, cause: Cause) -> None:
        self.guard.force(cause.signal or signal.SIGINT)

    def _answer(self) -> None:
        if (parts := self.parts) is not None:
            parts.lifecycle.answer()

    def _wake(self) -> None:
        if (parts := self.parts) is not None:
            if self.dispatcher.stopping:
                parts.shutdown_begins()
                self.signal_hooks.tell_unheard()
            parts.lifecycle.wake()

    def _interrupt_main_thread(self) -> None:
        self.guard.interrupt_main_thread()

    def _label(self, task: asyncio.Task[Any]) -> str:
        return repr(task) if (parts := self.parts) is None else parts.tasks.label(task)

    def _observer_failed(self, observer: Observer, error: BaseException) -> None:
        self.intake.observer_failed(described(observer), error)

    def may_block_until(self) -> float:
        """When the running code must stop blocking the loop; before there is one, half of the grace."""
        if (parts := self.parts) is not None:
            return parts.blocking.until()
        return self.deadline.half_of_rest(self.deadline.changed_at) if self.deadline.stopping else math.inf

    def still_running(self) -> list[str]:
        """One line for each hook, task and job that has not ended."""
        if (parts := self.parts) is None:
            return still_running(self.active, [], [])
        tasks = [(parts.tasks.label(task), task) for task in parts.work.unfinished()]
        return still_running(self.active, tasks, [(job.label, job.stack()) for job in parts.jobs.running()])

    def trouble_so_far(self) -> list[str]:
        """What has failed or was given up, without the texts of exceptions: in any thread, and nothing can unblock that."""
        cause = self.dispatcher.cause
        if cause is None:
            return []
        return trouble(self.journal.report(cause, 0.0, 0), [*self.failures.errors], asking=False)

    # --- the end ---------------------------------------------------------------------------------------------------

    def report_the_rest(self) -> None:
        """Log what would not be seen otherwise; while a logging handler that blocks can still be unblocked."""
        for each in self.guard.untold():
            self.stuck.unblocked(each, "code outside hooks and tasks")
        errors = self.failures.errors
        if errors and isinstance(errors[0], SystemExit):  # which prints nothing, nor what is chained to it
            for error in errors[1:]:
                log(logging.ERROR, f"another error during the shutdown: {describe(error)}", error=error)

    def main_finished(self) -> bool:
        """Whether main ended by itself."""
        return (parts := self.parts) is not None and parts.serving.finished

    def status_so_far(self) -> int:
        """The exit status, should nothing else happen. The shutdown has begun."""
        cause = self.dispatcher.cause
        assert cause is not None
        status = status_so_far(cause, self.failures.errors, finished=self.main_finished(), has_main=self._has_main)
        return 0 if status < 0 and self.dispatcher.told_owner else status  # whose signal it is

    def signal_to_pass_on(self) -> signal.Signals | None:
        """A signal that came when the result was clear, and must not be lost; `None`: there was none."""
        return None if (late := self.dispatcher.late) is None else late.signal

    def conclude(self, otherwise: BaseException | None = None) -> BaseException | None:
        """
        Make the report, prepare the end of the process, and return what there is to raise.

        Args:
            otherwise: What is raised if there is nothing else; for the report.
        """
        cause = self.dispatcher.cause
        assert cause is not None
        keep_abandoned()
        if (parts := self.parts) is not None:
            parts.children.kill()
        raised = what_to_raise(cause, self.failures.errors, finished=self.main_finished(), has_main=self._has_main)
        if self.dispatcher.told_owner and isinstance(raised, Interrupted):
            raised = None  # the owner of the process handles the signal
        if raised is None and cause.signal is None and (owed := self.signal_to_pass_on()) is not None:
            raised = Interrupted(owed)
        self.report = self.journal.report(
            cause, clock.now() - cause.at, exit_status(otherwise if raised is None else raised)
        )
        status = self.report.exit_status
        self.observers.tell(EventKind.OVER, cause=cause, until=self.deadline.at, exit_status=status)
        self.guard.prepare_end(raised)
        if in_main_thread() and not simulated_guards.get():  # else its end is not that of the process
            self.termination_log.write(last_words(self.settings.name, self.report, self.failures.errors))
        if self.settings.report_file is not None and not simulated_guards.get():  # a simulation leaves files alone
            write_report(self.report, self.settings.report_file)
        return raised


class LoopParts:
    """
    The parts of a run that live in its loop.

    Args:
        run: The parts that exist before the loop.
        loop: The running loop.
    """

    def __init__(self, run: Run, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        settings, hooks, deadline, intake = run.settings, run.hooks, run.deadline, run.intake
        self.waiting = Waiting(run.guard.expect_progress, run.deadline.look)
        self._dispatcher = run.dispatcher
        self.exception_handler = ExceptionHandler(loop, intake.heard_by_loop, intake.heard_harmless, self._counts)
        patience = settings.patience
        self.unretrieved = None if patience is None else UnretrievedExceptions(loop, patience)
        self.blocks = CriticalBlocks(self.waiting.reconsider)
        self.notice = StopNotice(deadline, self.blocks)
        self.ownership = Ownership(loop)
        self.children = Children(loop, self.ownership, self.blocks)
        self.strays = StrayReaper(loop)
        self.tasks = SupervisedTasks(loop, self.unretrieved, self.blocks, intake.task_failed)
        self.blocking = BlockingLimit(deadline, settings.drain_share, run.active, self.tasks, owns_loop=run.owns_loop)
        cancellation = Cancellation(deadline, self.waiting, self.tasks, self.blocks, self.unretrieved)
        supervisor = Supervisor(deadline, self.waiting, run.active, cancellation, run.guard.hook_limited)
        exception_hooks = ExceptionHooks(
            hooks.of(Stage.EXCEPTION), deadline, supervisor, run.failures, intake, run.dispatcher, self.tasks
        )
        self.jobs = ExecutorJobs(loop, intake.job_failed, run.active.adopt_job)
        self.startup = startup = Startup(hooks, deadline, supervisor, self.blocks, intake, self.ownership)
        self.serving = Serving(
            hooks.of(Stage.BACKGROUND),
            self.tasks,
            run.dispatcher,
            run.failures,
            intake,
            exception_hooks,
            run.signal_hooks,
        )
        self.shutdown_hooks = ShutdownHooks(
            hooks,
            deadline,
            self.waiting,
            run.journal,
            run.dispatcher,
            run.failures,
            intake,
            run.active,
            supervisor,
            startup,
            self.ownership,
            self.jobs,
        )
        self.late_hooks = LateHooks(
            hooks, run.dispatcher, run.guard, run.signal_hooks, exception_hooks, self.shutdown_hooks
        )
        drain = Drain(
            settings,
            deadline,
            run.dispatcher,
            self.waiting,
            self.shutdown_hooks,
            self.tasks,
            self.children,
            self.notice,
            run.stuck,
        )
        self.work = Work(
            loop,
            deadline,
            self.waiting,
            self.tasks,
            self.children,
            self.ownership,
            cancellation,
            self.jobs,
            self.blocking,
            run.stuck,
            owns_loop=run.owns_loop,
        )

        self.view = self._make_view(run, drain)
        shutdown = self._make_shutdown(run, drain, exception_hooks)
        self.lifecycle = Lifecycle(
            settings,
            intake,
            hooks,
            deadline,
            run.dispatcher,
            self.waiting,
            self.notice,
            startup,
            self.serving,
            drain,
            shutdown,
            run.observers,
            run.guard.taker_of,
            self.view.is_shown,
        )

    def _make_view(self, run: Run, drain: Drain) -> View:
        def make_rows() -> ListRows:
            from graceful._run.live_rows import LiveRows  # here, because it is needed only for the live view

            return LiveRows(run.deadline, run.active, self.tasks, self.jobs, drain, self.work).rows

        return View(self._loop, run.settings, run.deadline, run.hooks, run.dispatcher, run.guard, make_rows)

    def _make_shutdown(self, run: Run, drain: Drain, exception_hooks: ExceptionHooks) -> Shutdown:
        progress = Progress(
            run.settings.name,
            run.deadline,
            self.waiting,
            run.observers,
            lambda: drain.serving() or run.still_running(),
            self.view.is_shown,
        )
        return Shutdown(
            run.settings,
            run.deadline,
            run.observers,
            run.intake,
            exception_hooks,
            drain,
            self.work,
            self.shutdown_hooks,
            progress,
            run.guard.shield_handlers,
            run.journal.failure_of,
            run.status_so_far,
        )

    def run_in(self, loop: asyncio.AbstractEventLoop | None) -> bool:
        """Whether this is their loop."""
        return loop is self._loop

    def shutdown_begins(self) -> None:
        """What fails from now on has failed during the shutdown. Again: no effect."""
        if self.unretrieved is not None:
            self.unretrieved.shutdown_begins()

    def _counts(self, context: dict[str, Any]) -> bool:
        """
        Whether an exception that the loop's exception handler hears of is raised, and changes the exit status.

        Not that of a callback, or of a task that nobody supervises, once the shutdown has begun: main's result is not lost
        because a task that is cancelled with it fails. But what had failed before does count, and so does `sys.exit()`.
        """
        if not self._dispatcher.stopping or not isinstance(context["exception"], Exception):
            return True
        task = context.get("future", context.get("task"))
        return task is not None and self.unretrieved is not None and self.unretrieved.failed_before_shutdown(task)

    def detach(self, *, loop_ends: bool) -> None:
        """Give the loop's methods back. `loop_ends`: nobody can retrieve an exception later."""
        if self.unretrieved is not None:
            self.unretrieved.detach(loop_ends=loop_ends)
        self.strays.close()
        self.exception_handler.detach()
        self.ownership.detach()
