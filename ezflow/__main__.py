"""``python -m ezflow [PATH]`` analyses Python source on the pool; ``python -m ezflow doctor`` describes this machine."""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import sys
from collections.abc import Sequence

_DESCRIPTION = """\
Analyse every .py file of a folder on a pool of worker processes: lines, functions, classes, branches, docstrings.
Without PATH it takes the standard library of this Python. The same work is then done serially, for comparison.
"""


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m ezflow",
        description=_DESCRIPTION,
        epilog="python -m ezflow doctor: print what a bug report needs (./doctor for a folder of that name).",
    )
    parser.add_argument(
        "path", nargs="?", metavar="PATH", help="folder or file to analyse, or the word doctor"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="worker processes (default: usable CPUs)")
    parser.add_argument(
        "--no-serial", action="store_true", help="skip the serial run, so no speed-up is shown"
    )
    parser.add_argument(
        "--start-method",
        choices=multiprocessing.get_all_start_methods(),
        help="how workers start (default: the pool's)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; give its exit code: 0 good, 1 something failed, 2 wrong use, 130 interrupted."""
    args = make_parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may not fit the terminal's encoding
    try:
        code = _run(args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `python -m ezflow | head`: nobody reads the rest
        # Python flushes stdout again at exit; give it a place where that cannot fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(args: argparse.Namespace) -> int:
    """Choose between the two jobs; their modules are imported only when needed."""
    if args.path == "doctor":
        if args.workers is not None or args.no_serial or args.start_method is not None:
            print("python -m ezflow: doctor takes no options", file=sys.stderr)
            return 2
        from ._doctor import print_report

        return print_report()
    from ._demo import DemoError, run_demo

    try:
        return run_demo(
            args.path, args.workers, not args.no_serial, args.start_method, out=sys.stdout, log=sys.stderr
        )
    except DemoError as error:
        print(f"python -m ezflow: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
