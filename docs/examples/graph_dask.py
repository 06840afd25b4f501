from ezflow import EZ, each


def load(name):
    return len(name)


def scale(number):
    return 10 * number


# With Dask: sum, delayed, of a list of scale(load(name)), delayed, for each name; then compute.
total = EZ(each([load, scale]), sum)

print(total.on("inline")(["a", "bb", "ccc"]))
