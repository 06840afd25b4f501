from ezflow import DROP, Flow, ProcessPoolExecutor


def parse(text):
    return int(text)


def invert(n):
    return 1 / n


with ProcessPoolExecutor(2) as pool:
    flow = Flow(parse, invert).on(pool)

    try:
        list(flow.stream(["2", "0", "4"]))
    except ZeroDivisionError as error:
        print(error, "|", error.__notes__[-1])

    inputs = ["2", "0", "x", "4"]
    for result in flow.results().stream(inputs):
        print(result.ok if result else f"{result.stage} did not like {result.item!r}: {result.err}")

    outcome = flow.results().run(inputs)
    print(outcome.n_in, "=", outcome.n_out, "+", outcome.n_failed, "+", outcome.n_dropped)
    print([failure.item for failure in outcome.failures])

    print(list(flow.catch(lambda error: DROP).stream(inputs)))
