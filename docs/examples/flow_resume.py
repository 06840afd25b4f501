from pathlib import Path

from ezflow import Flow, ProcessPoolExecutor

repaired = Path("repaired")


def convert(n):
    if n == 700 and not repaired.exists():
        raise OSError("the disk is full")
    return n


flow = Flow(convert)

with ProcessPoolExecutor(2) as pool:
    try:
        flow.on(pool).run(range(1000), journal="convert.journal")
    except OSError as error:
        print(error)

    repaired.touch()
    outcome = flow.on(pool).run(range(1000), journal="convert.journal")
    print(outcome.n_skipped > 0, outcome.n_skipped + outcome.n_in)

    outcome = flow.on(pool).run(range(1200), journal="convert.journal")  # the source has grown
    print(outcome.n_skipped, outcome.n_in)
