"""Whether a shell stays there as the parent of the program. What these scripts do was tried with dash and bash."""

from __future__ import annotations

import pytest

from graceful._plan.shell_script import stays


@pytest.mark.parametrize(
    "script",
    [
        "python -m orders",
        "cd /app; python -m orders",
        "sleep 1 && python -m orders",
        "python -m orders || exit 1",
        "python -m orders; exit $?",
        "python -m orders & wait",
        'setup; "$@"',
        "python -m orders --name $(hostname)",
        'python -c "exec(a); exec b"',
        "migrate\npython -m orders # exec",
        "exec 2>&1; python -m orders",
        "exec >log 2>&1\npython -m orders",
        "exec python -m orders | tee log",
        "exec python -m orders &",
        "( exec python -m orders )",
        "( python -m orders )",
        "if test x; then exec a; fi; python b",
        "if test x; then exec a; else python b; fi",
        "test x && exec a; python b",
        "test x && exec a || python b",
        "while true; do python -m orders; done",
        "for each in a b; do python $each; done",
    ],
)
def test_it_stays(script: str) -> None:
    """It runs the program as its child."""
    assert stays(script)


@pytest.mark.parametrize(
    "script",
    [
        "exec python -m orders",
        "migrate && exec python -m orders",
        "set -e\nmigrate\nexec python -m orders\n",
        "A=1 B='x y' exec python -m orders",
        "command exec python -m orders",
        "exec -a orders python -m orders",
        "exec python -m orders || exit 1",
        "exec python -m orders && echo",
        'exec python -m orders --sep ";"',
        "exec python -m orders --sep ';' \\;",
        'exec env A="a|b" python -m orders',
        "exec python -m orders # in place of the shell; see the manual",
        "exec python -m orders; # once",
        "exec python -m orders >log 2>&1 </dev/null",
        "exec >log python -m orders",
        "exec python -m orders \\\n  --verbose",
        'exec python $(echo "a; b") `c | d` $((1 | 2))',
        'exec python "${A:-b;c}"',
        "{ exec python -m orders; }",
        'if [ -n "$X" ]; then exec python -m orders --x; else exec python -m orders; fi',
        "if test a; then exec b; elif test c; then exec d; else exec e; fi; f",
        "if test a; then if test b; then exec c; else exec d; fi; else exec e; fi",
        "if test x; then exec a; else echo no >&2; exit 1; fi",
        "if test x; then exec a; fi; exec b",
        "test x || { echo no; exit 1; }; exec a",
        '[ -z "$A" ] || exec a; exec b',
        "until nc -z db 5432; do sleep 1; done; exec a",
        "for each in a b; do setup $each; done; exec a",
        "case $1 in x) migrate;; esac; exec a",
        "setup | tee log; exec a",
    ],
)
def test_it_becomes_the_program(script: str) -> None:
    """On each of the ways through the script."""
    assert not stays(script)


@pytest.mark.parametrize(
    "script",
    [
        "",
        "# nothing",
        "cd /app",
        "case $1 in a) exec b;; *) exec c;; esac",
        "trap 'kill $child' TERM; python -m orders & child=$!; wait $child",
        "start() { exec a; }; start",
        "function start { exec a; }; start",
        ". ./start.sh",
        'eval "$COMMAND"',
        "cat <<EOF\nx\nEOF\npython",
        "diff <(a) <(b)",
        "python 'x",
        "if test; then python",
        "fi",
        "case x in",
        "python )",
        "a && ;; b",
    ],
)
def test_what_is_not_understood(script: str) -> None:
    """Nothing is said about it."""
    assert not stays(script)
