from ezflow import As, Flow, ProcessPoolExecutor, Stage


class Recognise(Stage):
    """Loads a model once for each worker that it lives in."""

    def __init__(self, name):
        self.name = name

    def setup(self):
        self.words = {"model": {"hund": "dog", "katze": "cat"}}[self.name]  # takes its time
        self.n = 0

    def do(self, item):
        self.n += 1
        return self.words.get(item, "?"), self.n

    def teardown(self):
        del self.words


with ProcessPoolExecutor(2) as pool:
    print(list(Flow(str.lower, Recognise("model")).on(pool).stream(["Hund", "Maus", "Katze"])))
    print([word for word, _ in Flow(As(3, Recognise, "model")).on(pool).stream(["hund"] * 5)])
