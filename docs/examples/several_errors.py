from ezflow import ProcessPoolExecutor


def parse(text):
    try:
        return int(text)
    except ValueError as error:
        error.add_note(f"while it read line {text!r}")
        raise


with ProcessPoolExecutor(2) as pool:
    futures = [pool.submit(parse, text) for text in ("1", "two", "3", "four")]
    errors = [error for error in (future.exception() for future in futures) if error]

for error in errors:
    print(repr(error), error.__notes__)
