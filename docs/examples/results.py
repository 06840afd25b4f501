from ezflow import ProcessPoolExecutor, Result


def inverse(number):
    return 1 / number


with ProcessPoolExecutor(2) as pool:
    for result in pool.map.results()(inverse, [4, 0, None]):
        match result:
            case Result(err=None, ok=value):
                print(result.index, "gave", value)
            case Result(err=ZeroDivisionError()):
                print(result.index, "has no inverse")
            case Result(err=error):
                print(result.index, "failed:", type(error).__name__)

here = Result.capture(inverse, 0)  # the same envelope for a call in this process
print(bool(here), here.unwrap_or("none"), here.map(abs))
