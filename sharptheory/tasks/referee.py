"""Whether LaTeX means something, and whether two answers mean the same, decided by math-verify in a child process.

Computer algebra takes as long, and as much memory, as an answer makes it take (``9^{9^{9}}``); math-verify's own time limit
is a signal, which works in the main thread alone. A process of its own has a limit of both in any thread, and when it is
over the answer counts as not understood. This file is also what the child runs, so it imports nothing of the package.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading

#: Seconds that math-verify may take to parse or to compare.
SECONDS = 5
#: Bytes that the child may take.
MEMORY = 4 << 30


class Referee:
    """A child process that answers questions, one at a time; it is started when first asked, and when it was ended.

    Args:
        seconds: that math-verify may take to parse or to compare. The child is ended when that limit does not hold.
    """

    def __init__(self, seconds: int = SECONDS) -> None:
        self.seconds = seconds
        self._lock, self._process, self._owner = threading.Lock(), None, 0

    def ask(self, *question: str) -> bool | None:
        """The answer to ``("readable", answer)`` or ``("equal", gold, answer)``; None if there is none in time."""
        with self._lock:
            for _ in range(2):  # a child that had died before it was asked is replaced once
                process, overdue = self._running(), threading.Event()
                # Two texts are parsed and compared; then the signal was not heard, as in a loop written in C.
                timer = threading.Timer(3 * self.seconds + 1, lambda p=process, o=overdue: (o.set(), p.kill()))
                timer.start()
                try:
                    process.stdin.write(json.dumps(question) + "\n")
                    process.stdin.flush()
                    if answer := process.stdout.readline():
                        return json.loads(answer)
                except OSError:  # it is gone
                    pass
                except BaseException:  # interrupted: its answer must not be taken for that to the next question
                    self.stop()
                    raise
                finally:
                    timer.cancel()
                self.stop()
                if overdue.is_set():
                    break
            return None

    def stop(self) -> None:
        """End the child."""
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.communicate()

    def _running(self) -> subprocess.Popen:
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            self.stop()
            self._owner = os.getpid()
            self._process = subprocess.Popen(
                [sys.executable, "-P", __file__, str(self.seconds)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
            self._process.stdout.readline()  # it has imported what it needs
        return self._process


REFEREE = Referee()
atexit.register(REFEREE.stop)


def serve(seconds: int) -> None:
    """Answer the questions on standard input, a line of JSON each, until there are no more."""
    import logging

    import math_verify

    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    except (ImportError, ValueError, OSError):  # no such limit on this system, or a lower one is set
        pass
    logging.disable()

    def parsed(text: str) -> list:
        return math_verify.parse(f"${text}$", parsing_timeout=seconds)

    def judge(kind: str, *texts: str) -> bool:
        if kind == "readable":  # the library hands back what it cannot parse as a string
            return any(not isinstance(part, str) for part in parsed(texts[0]))
        both = [parsed(text) for text in texts]
        return all(both) and bool(math_verify.verify(*both, timeout_seconds=seconds))

    print("ready", flush=True)
    for line in sys.stdin:
        try:
            answer = judge(*json.loads(line))
        except Exception:  # an answer that the library cannot handle is not understood
            answer = None
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
