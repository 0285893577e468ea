"""
A Windows in miniature, on Linux: the program that follows finds what CPython has there, and not what it has not.

From CPython's documentation of `signal`, `os`, `select` and asyncio's platform support, and from its Lib/asyncio/windows_events.py
and proactor_events.py. What is imported afterwards believes `sys.platform`. In particular:

- Signals arrive in a thread of the system, and interrupt nothing that the main thread waits in: here they are blocked in all
  threads but one that only sleeps.
- SIGBREAK is there (here it is SIGUSR1); SIGHUP, SIGKILL, SIGALRM, timers, masks, process groups and `fork` are not.
- A socket is a handle, and no descriptor for `os.write`; only sockets can be waited for with `select`.
- No process dies by a signal: `os.kill` is TerminateProcess. Both ways to end the process say with what status.
"""

WINDOWS = r'''
import asyncio, contextlib, enum, errno, functools, logging, multiprocessing, os, select, selectors, signal, socket, stat
import subprocess, sys, threading, time
from asyncio import selector_events

_write, _exit, _kill, _select, _signal, _set_wakeup_fd = (
    os.write, os._exit, os.kill, select.select, signal.signal, signal.set_wakeup_fd)
_mask, _raise, SIGBREAK = signal.pthread_sigmask, signal.raise_signal, signal.SIGUSR1

def say(*words, write=_write):
    write(1, (" ".join(map(str, words)) + "\n").encode())

threading.Thread(target=threading.Event().wait, daemon=True, name="of the system").start()
_mask(signal.SIG_BLOCK, signal.valid_signals())

_numbers = {name: int(getattr(signal, name)) for name in ("SIGABRT", "SIGFPE", "SIGILL", "SIGINT", "SIGSEGV", "SIGTERM")}
_numbers |= {"SIGBREAK": int(SIGBREAK), "CTRL_C_EVENT": 0, "CTRL_BREAK_EVENT": 1}
for name in [*dir(signal)]:
    if name.startswith("SIG") and name not in ("SIG_DFL", "SIG_IGN"):
        delattr(signal, name)
for name in ("setitimer", "getitimer", "pthread_kill", "pthread_sigmask", "siginterrupt", "sigwait", "alarm", "pause",
             "ITIMER_REAL"):
    delattr(signal, name)
signal.Signals = enum.IntEnum("Signals", _numbers)
vars(signal).update(signal.Signals.__members__)
signal.valid_signals = lambda: {each for each in signal.Signals if each > 1}
signal.raise_signal = lambda number: _kill(os.getpid(), number)

def _set_signal(number, handler):
    if number not in signal.valid_signals():
        raise ValueError("invalid signal value")
    return _signal(number, handler)
signal.signal = _set_signal

for name in ("fork", "register_at_fork", "waitid", "killpg", "getpgrp", "setsid", "WNOHANG", "WEXITED", "geteuid"):
    delattr(os, name)

def _is_socket(fd, fstat=os.fstat, is_socket=stat.S_ISSOCK):
    return is_socket(fstat(fd).st_mode)

def _write_descriptor(fd, data, is_socket=_is_socket, say=say, write=_write):
    if is_socket(fd):
        say("os.write to the handle of a socket")
        raise OSError(errno.EBADF, "no descriptor")
    return write(fd, data)
os.write = _write_descriptor

def _select_sockets(*lists):
    for fd in (fd if isinstance(fd, int) else fd.fileno() for each in lists[:3] for fd in each):
        if not _is_socket(fd):
            raise OSError(10038, "An operation was attempted on something that is not a socket")
    return _select(*lists)
select.select = _select_sockets
selectors.DefaultSelector = selectors.SelectSelector
del selectors.PollSelector, selectors.EpollSelector

def _end(status, say=say, exit=_exit):
    say("status", hex(status & 0xFFFFFFFF))
    exit(0)
os._exit = _end
os.kill = lambda pid, number, end=_end: end(number)

subprocess.CREATE_NEW_PROCESS_GROUP = 0x200
sys.platform = "win32"

class SelectorLoop(selector_events.BaseSelectorEventLoop):
    """As asyncio.SelectorEventLoop: it has no `add_signal_handler`, and no wakeup fd."""

class ProactorLoop(selector_events.BaseSelectorEventLoop):
    """As asyncio.ProactorEventLoop: it has no `add_reader`, either, and sets a wakeup fd."""
    def __init__(self):
        super().__init__()
        _set_wakeup_fd(self._csock.fileno())
    def close(self):
        if not self.is_closed():
            _set_wakeup_fd(-1)
        super().close()
    def add_reader(self, *_):
        raise NotImplementedError
    remove_reader = add_writer = remove_writer = add_reader

LOOP = {"selector": SelectorLoop, "proactor": ProactorLoop}[os.environ["TEST_LOOP"]]

from graceful import *
import graceful
'''
