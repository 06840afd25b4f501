from ezflow import EZ, Zip, each, pack, same, star


def inc(x):
    return x + 1


def double(x):
    return 2 * x


def add(x, y):
    return x + y


def show(**values):
    return values


def here(*stages):
    return EZ(*stages).on("inline")


print("chain ", here(inc, double)(1))
print("split ", here((inc, double))(1, 2))
print("copy  ", here({inc, double})(1))
print("zip   ", here(Zip(inc, double))(1))
print("names ", here({"x": inc, "y": double}, add)(1))
print("places", here(Zip(inc, double), add)(1))
print("label ", here({"x": inc, "rest": double}, show)(1))
print("same  ", here({"before": same, "after": inc})(1))
print("star  ", here(star(add))((1, 2)))
print("pack  ", here((inc, double, inc), pack(sum))(1, 2, 3))
print("each  ", here(range, each(double), sum)(4))
print("nested", here({"one": [inc, Zip(inc, double), add], "two": double})(1))
