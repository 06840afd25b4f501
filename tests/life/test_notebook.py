"""A pool in a Jupyter notebook: cells define what calls use, and the stop button stops calls and breaks nothing."""

from __future__ import annotations

from pathlib import Path

from tests.life.notebook import kernel
from tests.life.test_ways import PROGRAM


def test_program_works_in_a_cell(start_method: str, tmp_path: Path) -> None:
    counter = tmp_path / "counter"

    with kernel(tmp_path, {"COUNTER": str(counter), "METHOD": start_method}) as notebook:
        defined = notebook.run(PROGRAM)
        assert defined.error is None, defined
        ran = notebook.run("main()")

    assert (ran.error, ran.stdout, ran.stderr) == (None, "all is well\n", "")
    assert counter.read_text().count("ran") == 1


def test_function_changed_in_a_cell_is_the_one_that_runs(start_method: str, tmp_path: Path) -> None:
    with kernel(tmp_path, {"METHOD": start_method}) as notebook:
        notebook.run(
            """
            import multiprocessing, os
            from ezflow import ProcessPoolExecutor
            pool = ProcessPoolExecutor(1, multiprocessing.get_context(os.environ["METHOD"]))
            def f(x): return x + 1
            """
        )
        first = notebook.run("print(pool.submit(f, 1).result())")
        notebook.run("def f(x): return x + 2")
        second = notebook.run("print(pool.submit(f, 1).result())")

    assert (first.stdout, second.stdout) == ("2\n", "3\n")


def test_stop_button_raises_once_and_the_next_cell_uses_the_same_pool(
    start_method: str, tmp_path: Path
) -> None:
    gate = tmp_path / "started"
    with kernel(tmp_path, {"METHOD": start_method, "GATE": str(gate)}) as notebook:
        notebook.run(
            """
            import multiprocessing, os, time
            from ezflow import ProcessPoolExecutor
            pool = ProcessPoolExecutor(2, multiprocessing.get_context(os.environ["METHOD"]))
            def slow():
                time.sleep(600)
            finished = [pool.submit(pow, 2, n) for n in range(20)]
            """
        )
        request = notebook.send(
            """
            running = pool.submit(slow)
            fast = pool.submit(pow, 3, 3)
            print(fast.result(), flush=True)
            running.result()
            """
        )
        notebook.wait(request, until="27")
        notebook.interrupt()
        stopped = notebook.wait(request)
        after = notebook.run(
            """
            print([f.result() for f in finished] == [2**n for n in range(20)], fast.result())
            print(pool.submit(pow, 2, 5).result(), running.running())
            print(running.cancel(), pool.submit(pow, 2, 6).result(), pool.submit(pow, 2, 7).result())
            """
        )
        log = notebook.log.read_text()

    assert stopped.error == "KeyboardInterrupt"
    assert (
        stopped.traceback.count("KeyboardInterrupt") <= 2
    )  # IPython shows the name above and below its traceback
    assert (after.error, after.stdout) == (None, "True 27\n32 True\nTrue 64 128\n")
    assert "Traceback" not in log, log


def test_stop_button_inside_with_leaves_no_worker(start_method: str, tmp_path: Path) -> None:
    with kernel(tmp_path, {"METHOD": start_method}) as notebook:
        request = notebook.send(
            """
            import multiprocessing, os, time
            from ezflow import ProcessPoolExecutor
            with ProcessPoolExecutor(2, multiprocessing.get_context(os.environ["METHOD"])) as pool:
                slow = [pool.submit(time.sleep, 600) for _ in range(10)]
                print("running", pool.submit, flush=True)
                slow[0].result()
            """
        )
        notebook.wait(request, until="running")
        stopped = notebook.stop(request)
        after = notebook.run(
            """
            print(all(f.done() for f in slow), len(pool._processes))
            with ProcessPoolExecutor(2, multiprocessing.get_context(os.environ["METHOD"])) as pool:
                print(pool.submit(pow, 2, 5).result())
            """
        )

    assert stopped.error == "KeyboardInterrupt"
    assert (after.error, after.stdout, after.stderr) == (None, "True 0\n32\n", "")
