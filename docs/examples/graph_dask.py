from ezflow import EZ, each


def load(name):
    return len(name)


def scale(number):
    return 10 * number


# dask: total = delayed(sum)([delayed(scale)(delayed(load)(name)) for name in names]); total.compute()
total = EZ(each([load, scale]), sum)

print(total.on("inline")(["a", "bb", "ccc"]))
