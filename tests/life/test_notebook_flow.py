"""A flow that is watched in a notebook draws in its cell, and replaces what it drew."""

from __future__ import annotations

from pathlib import Path

from tests.life.notebook import kernel


def test_watched_flow_draws_a_table_in_its_cell(tmp_path: Path) -> None:
    with kernel(tmp_path, {}) as notebook:
        notebook.run(
            """
            from ezflow import ProcessPoolExecutor
            from ezflow.flow.flow import Flow
            pool = ProcessPoolExecutor(1)
            import IPython.display
            drawn = []
            display = IPython.display.display
            def noted(bundle, **options):
                drawn.append(bundle)
                handle = display(bundle, **options)
                update = handle.update
                handle.update = lambda bundle, **more: (drawn.append(bundle), update(bundle, **more))
                return handle
            IPython.display.display = noted
            """
        )
        ran = notebook.run(
            """
            outcome = Flow(lambda x: x + 1).on(pool).watch().run(range(100))
            print(outcome.n_out, len(drawn) >= 2, drawn[-1]["text/plain"].splitlines()[0][:15])
            """
        )

    assert (ran.error, ran.stdout, ran.stderr) == (None, "100 True 100 in, 100 out\n", "")
