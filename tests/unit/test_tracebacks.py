from __future__ import annotations

import copyreg
import gc
import io
import linecache
import os
import pdb
import pickle
import subprocess
import sys
import threading
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import ezflow
from ezflow import _frames, errors
from ezflow._interrupt import CallInterrupted
from ezflow._tracebacks import MAX_CHAIN, pack_exception, unpack_exception
from tests import raising

Answer = dict[str, tuple[bytes, Any]]


@pytest.fixture(scope="module", params=["pickle", "cloudpickle"])
def arrived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Answer:
    """All kinds, packed by another process."""
    file = tmp_path_factory.mktemp("packed") / "answer"
    folders = [Path(ezflow.__file__).parents[1], Path(raising.__file__).parents[1]]
    subprocess.run(
        [sys.executable, "-m", "tests.raising", request.param, str(file)],
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([*map(str, folders), *sys.path])},
    )
    answer: Answer = pickle.loads(file.read_bytes())
    return answer


def unpack(data: bytes) -> Any:
    return unpack_exception(data, pickle.loads)


def round_trip(error: BaseException, dumps: Callable[[object], bytes] = cloudpickle.dumps) -> Any:
    return unpack(pack_exception(error, dumps))


def frames_of(error: BaseException) -> list[tuple[str, str | None]]:
    return [(frame.name, frame.line) for frame in traceback.extract_tb(error.__traceback__)]


# -- what arrives as it was


@pytest.mark.parametrize("kind", raising.FAITHFUL)
def test_everything_a_user_can_see_survives_the_process_border(arrived: Answer, kind: str) -> None:
    data, original = arrived[kind]

    error = unpack(data)

    assert raising.facts(error) == original


def test_a_traceback_ends_in_the_frames_of_the_worker(arrived: Answer) -> None:
    error = unpack(arrived["plain"][0])

    last = traceback.extract_tb(error.__traceback__)[-2:]
    assert [frame.name for frame in last] == ["outer", "inner"]
    assert {frame.filename for frame in last} == {raising.__file__}
    assert [frame.line for frame in last] == ["inner(make)", "raise make()"]


def test_a_member_that_is_reached_twice_is_one_object(arrived: Answer) -> None:
    error = unpack(arrived["shared"][0])

    one = error.__cause__
    assert type(one) is KeyError
    assert error.__context__ is one
    assert error.reason is one
    assert error.args[1] is one
    assert error.all == [one, 7]
    assert error.all[0] is one
    assert error.pair[0] is one


def test_a_cycle_arrives_as_a_cycle(arrived: Answer) -> None:
    error = unpack(arrived["cycle"][0])

    assert error.__cause__.__context__.__cause__ is error


def test_an_exception_that_holds_itself_arrives() -> None:
    error = round_trip(raising.own_cycle())

    assert error.me is error
    assert error.args == (error,)


def test_slots_with_mangled_names_arrive_and_unset_ones_stay_unset(arrived: Answer) -> None:
    error = unpack(arrived["more slots"][0])

    assert error.private() == {"p": 1}
    assert error.left == [1]
    assert error.right is None
    assert not hasattr(error, "never_set")


def test_slots_that_a_subclass_hides_arrive(arrived: Answer) -> None:
    error = unpack(arrived["hidden slots"][0])

    assert error.left == "above"
    assert raising.Slots.left.__get__(error) == "below"
    assert raising.Slots.right.__get__(error) == ["below"]


def test_the_object_behind_an_attribute_error_stays_in_the_worker(arrived: Answer) -> None:
    error = unpack(arrived["AttributeError"][0])

    assert error.name == "nothing"
    assert error.obj is None


def test_a_class_of_main_arrives_by_value() -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    exec("class Mine(ValueError):\n    def __init__(self, *, a): self.a = a", space)

    error = round_trip(raising.caught(lambda: space["Mine"](a=[1])))

    assert type(error).__name__ == "Mine"
    assert isinstance(error, ValueError)
    assert not isinstance(error, errors.RemoteError)
    assert error.a == [1]
    assert frames_of(error)[-1] == ("inner", "raise make()")


def test_members_of_a_group_have_tracebacks_and_causes_of_their_own(arrived: Answer) -> None:
    error = unpack(arrived["group"][0])

    first, inside = error.exceptions
    assert type(first.__cause__) is KeyError
    assert frames_of(first.__cause__)[-1] == ("inner", "raise make()")
    assert frames_of(inside.exceptions[0])[-1] == ("inner", "raise make()")
    assert inside.exceptions[1].errno == 2


def test_a_group_can_still_be_split() -> None:
    error = round_trip(raising.FAITHFUL["own group"]())

    match, rest = error.split(KeyError)

    assert (match.label, rest.label) == ("mine", "mine")
    assert type(match.exceptions[0]) is KeyError


def test_an_own_reduce_keeps_its_say_and_loses_nothing(arrived: Answer) -> None:
    error = unpack(arrived["own reduce"][0])

    assert type(error) is raising.OwnReduce
    assert error.lock.acquire(blocking=False)  # made by __init__, which __reduce__ asked for
    assert error.extra == 7
    assert error.args == ("1/2",)
    assert not hasattr(error, "__notes__")
    assert frames_of(error)[-1] == ("inner", "raise make()")


def test_a_singleton_stays_one(arrived: Answer) -> None:
    error = unpack(arrived["singleton"][0])

    assert error is raising.SINGLETON
    assert frames_of(error)[-1] == ("inner", "raise make()")


def test_every_base_exception_keeps_its_type_also_inside_groups(arrived: Answer) -> None:
    group = unpack(arrived["base group"][0])

    assert type(group) is BaseExceptionGroup
    assert type(group.exceptions[0]) is KeyboardInterrupt
    assert type(unpack(arrived["SystemExit"][0])) is SystemExit
    assert type(round_trip(CallInterrupted("stop"))) is CallInterrupted


# -- what cannot travel


def test_an_attribute_that_cannot_travel_becomes_its_repr_and_a_note_says_so(arrived: Answer) -> None:
    error = unpack(arrived["lock"][0])

    assert type(error) is ValueError
    assert error.args == ("x",)
    assert error.good == [1]
    assert "lock object" in error.lock
    assert error.__notes__[0] == "mine"
    assert error.__notes__[1].startswith("lock of this exception could not be sent")
    assert "cannot pickle '_thread.lock' object" in error.__notes__[1]


@pytest.mark.parametrize(
    ("kind", "place", "read"),
    [
        ("lock in args", "args[1]", lambda e: (e.args[1], e.args[2])),
        ("lock in slot", "args[0] and left", lambda e: (e.left, e.right)),
    ],
)
def test_other_places_are_named_too(arrived: Answer, kind: str, place: str, read: Any) -> None:
    error = unpack(arrived[kind][0])

    replaced, good = read(error)
    assert "lock object" in replaced
    assert good == [1]
    assert error.__notes__[0].startswith(f"{place} of this exception")


def test_an_attribute_that_cannot_be_rebuilt_is_described(arrived: Answer) -> None:
    error = unpack(arrived["tie"][0])

    assert type(error) is ValueError
    assert error.tie == "<tests.raising.Tie object>"
    assert error.plain == 3
    (note,) = error.__notes__
    assert note.startswith("tie of this exception could not be rebuilt here and is now a description")
    assert "RuntimeError: tied to its process" in note


def test_hostile_text_does_no_harm(arrived: Answer) -> None:
    error = unpack(arrived["hostile text"][0])

    assert type(error) is raising.HostileText
    assert error.args == ("x",)
    assert "lock object" in error.lock


def test_hostile_attribute_access_does_no_harm(arrived: Answer) -> None:
    error = unpack(arrived["hostile __getattribute__"][0])

    is_same = type(error) is raising.HostileGetattribute  # pytest would look into the object itself
    assert is_same
    assert BaseException.args.__get__(error) == ("x",)


def test_a_class_that_does_not_pickle_becomes_a_stand_in() -> None:
    error = round_trip(raising.tied_local())

    assert isinstance(error, errors.RemoteError)
    with pytest.raises(IndexError):
        raise error
    assert error.type_name == "tests.raising.tied_local.<locals>.Local"
    assert error.message == "('deep', 1)"
    assert error.args_repr == "('deep', 1)"
    assert error.args == ("deep", 1)
    assert error.code == 5
    assert error.__notes__[0] == "a note"
    assert "`except IndexError`" in error.__notes__[1]
    assert str(error) == "tests.raising.tied_local.<locals>.Local: ('deep', 1)"
    assert frames_of(error)[-1] == ("inner", "raise make()")
    assert "raise make()\n" in error.traceback_text
    assert error.traceback_text.endswith("Local: ('deep', 1)\n")
    assert "pickle" in error.reason


def test_a_class_that_is_missing_here_becomes_a_stand_in(arrived: Answer) -> None:
    data, _ = arrived["missing class"]

    error = unpack(data)

    assert type(error).__bases__ == (errors.EzflowError,)
    assert (error.type_name, error.message) == ("only_in_child.Missing", "missing 4")
    assert error.args == (4, [4])
    assert error.args_repr == "(4, [4])"
    assert (error.code, error.things) == (4, [4])
    assert "only_in_child" in error.reason
    assert frames_of(error)[-1] == ("inner", "raise make()")


@pytest.mark.parametrize(
    ("kind", "matches"),
    [
        ("missing class near", (raising.KeywordOnly, ValueError)),
        ("missing exit", (SystemExit,)),
        ("missing file", (FileNotFoundError, OSError)),
        ("missing two", (KeyError, AttributeError)),
        ("missing group", (ExceptionGroup,)),
    ],
)
def test_a_stand_in_matches_the_nearest_bases(arrived: Answer, kind: str, matches: tuple[type, ...]) -> None:
    error = unpack(arrived[kind][0])

    assert isinstance(error, errors.RemoteError)
    for base in matches:
        assert isinstance(error, base)


def test_a_base_that_only_its_own_code_can_make_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    original = errors.blank

    def picky(cls: type, group: Any = None) -> Any:
        if issubclass(cls, raising.KeywordOnly):
            raise TypeError("use its own __new__")
        return original(cls, group)

    monkeypatch.setattr("ezflow._tracebacks.blank", picky)

    error = round_trip(raising.caught(lambda: raising.KeywordOnly(code=1, data={})))

    assert type(error).__bases__ == (errors.RemoteError, ValueError)
    assert error.reason == "TypeError: use its own __new__"
    assert error.code == 1


def test_a_stand_in_for_an_os_error_has_its_fields(arrived: Answer) -> None:
    error = unpack(arrived["missing file"][0])

    assert (error.errno, error.strerror, error.filename) == (2, "no", "name")


def test_subclasses_of_str_spoil_nothing(arrived: Answer) -> None:
    group = unpack(arrived["missing words"][0])

    (error,) = group.exceptions
    assert type(group) is ExceptionGroup
    assert group.message == "group"
    assert isinstance(error, errors.RemoteError)
    assert isinstance(error, ValueError)
    assert error.message == "spoken"


def test_a_stand_in_for_a_group_has_its_members(arrived: Answer) -> None:
    error = unpack(arrived["missing group"][0])

    assert type(error.exceptions[0].__cause__) is KeyError
    assert error.split(ValueError)[0] is not None
    assert error.message.startswith("g")


def test_one_bad_member_does_not_spoil_the_others(arrived: Answer) -> None:
    error = unpack(arrived["missing cause"][0])

    assert type(error) is ValueError
    assert isinstance(error.__cause__, errors.RemoteError)
    assert error.__cause__.type_name == "only_in_child.Missing"
    assert isinstance(error.__context__, IndexError)


def test_a_stand_in_can_be_pickled_and_packed_again(arrived: Answer) -> None:
    error = unpack(arrived["missing file"][0])

    for again in (pickle.loads(pickle.dumps(error)), round_trip(error, pickle.dumps)):
        assert type(again) is type(error)
        assert vars(again) == vars(error)
        assert again.errno == 2


def test_classes_of_stand_ins_are_made_once(arrived: Answer) -> None:
    first, second = unpack(arrived["missing file"][0]), unpack(arrived["missing file"][0])

    assert type(first) is type(second)


# -- bounds


def test_a_long_chain_is_cut_and_says_so() -> None:
    error = round_trip(raising.chain(100_000))

    length = 0
    last = error
    while last.__cause__ is not None:
        last = last.__cause__
        length += 1
    assert length == MAX_CHAIN
    assert last.__notes__ == [f"The causes and contexts beyond {MAX_CHAIN} links were left out."]
    assert not hasattr(error, "__notes__")


def test_deeply_nested_groups_arrive() -> None:
    error: Exception = ValueError("core")
    for _ in range(3000):
        error = ExceptionGroup("shell", [error])

    arrived = round_trip(error)

    depth = 0
    while isinstance(arrived, ExceptionGroup):
        (arrived,) = arrived.exceptions
        depth += 1
    assert depth == 3000
    assert arrived.args == ("core",)


def test_a_group_beyond_the_limit_has_placeholders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ezflow._tracebacks.MAX_RECORDS", 3)

    error = round_trip(ExceptionGroup("g", [ValueError(i) for i in range(4)]))

    kinds = [type(member) for member in error.exceptions]
    assert kinds == [ValueError, ValueError, errors.RemoteError, errors.RemoteError]
    assert "only the first 3" in str(error.exceptions[3])


def test_a_huge_repr_is_shortened() -> None:
    class Huge:
        def __repr__(self) -> str:
            return "y" * 10_000_000

        def __reduce__(self) -> Any:
            raise TypeError("no")

    error = round_trip(raising.having(ValueError("x"), huge=Huge()))

    assert len(error.huge) < 2000


def test_a_very_deep_traceback_keeps_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_frames, "MAX_FRAMES", 10)

    error = round_trip(raising.recursion())

    names = [name for name, _ in frames_of(error)]
    assert len(names) == 10
    assert names[0] == "caught_in"
    assert names[-1] == "down"
    assert "frames in the middle" in error.__notes__[-1]


# -- frames


def test_post_mortem_lands_in_the_worker_s_code(arrived: Answer) -> None:
    error = unpack(arrived["plain"][0])
    shown = io.StringIO()
    debugger = pdb.Pdb(stdin=io.StringIO("where\nlist\nup\np __name__\nquit\n"), stdout=shown, nosigint=True)

    debugger.reset()
    debugger.interaction(None, error.__traceback__)

    text = shown.getvalue()
    assert "inner()" in text
    assert "raise make()" in text
    assert "'tests.raising'" in text


def test_frames_keep_nobody_s_stack_alive() -> None:
    class Local:
        pass

    data = pack_exception(raising.caught(lambda: raising.ManyArgs(1, "b")), cloudpickle.dumps)

    def open_error() -> tuple[BaseException, weakref.ref[Local]]:
        local = Local()
        return unpack(data), weakref.ref(local)

    gc.disable()
    try:
        error, local = open_error()
        assert local() is None
        assert error.__traceback__ is not None
        assert error.__traceback__.tb_frame.f_back is None
        gone = weakref.ref(error)
        del error
        assert gone() is None
    finally:
        gc.enable()


def test_frames_can_be_cleared_and_shown() -> None:
    error = round_trip(raising.caught(lambda: ValueError("x")))

    traceback.clear_frames(error.__traceback__)
    text = "".join(traceback.format_exception(error))

    assert text.count("File ") == len(frames_of(error))
    assert list(traceback.TracebackException.from_exception(error, capture_locals=True).format())


def test_ezflow_s_own_frames_are_cut_off_at_the_top() -> None:
    folder = Path(ezflow.__file__).parent
    own: dict[str, Any] = {"__name__": "ezflow._engine.worker"}
    exec(compile("def run(fn):\n    fn()", str(folder / "_engine" / "worker.py"), "exec"), own)
    demo: dict[str, Any] = {"__name__": "ezflow.demo"}
    exec(compile("def work(fn):\n    fn()", str(folder / "demo.py"), "exec"), demo)

    def raising_in_user_code() -> None:
        own["run"](lambda: demo["work"](lambda: raising.inner(ValueError)))

    original = raising.caught_in(lambda: own["run"](raising_in_user_code))
    assert original.__traceback__ is not None
    top = original.__traceback__.tb_next
    assert top is not None
    error = round_trip(original.with_traceback(top.tb_next))  # as the worker's loop sees it

    names = [name for name, _ in frames_of(error)]
    assert names == ["raising_in_user_code", "run", "<lambda>", "work", "<lambda>", "inner"]


def test_an_error_of_ezflow_itself_shows_three_frames() -> None:
    own: dict[str, Any] = {"__name__": "ezflow._engine.worker"}
    file = str(Path(ezflow.__file__).parent / "_engine" / "worker.py")
    exec(compile("def run(n):\n    return run(n - 1) if n else 1 / 0", file, "exec"), own)

    original = raising.caught_in(lambda: own["run"](9))
    tb: Any = original.__traceback__
    error = round_trip(original.with_traceback(tb.tb_next.tb_next))

    assert [name for name, _ in frames_of(error)] == ["run"] * 3


def test_columns_point_at_the_expression() -> None:
    error = round_trip(raising.caught_in(lambda: (1 + 1) / (2 - 2)))

    text = "".join(traceback.format_exception(error))
    assert "~~~~~~~~^~~~~~~~~" in text


def test_a_statement_over_several_lines_keeps_all_of_them() -> None:
    def run() -> object:
        return raising.inner(
            ValueError,
        )

    original = raising.caught_in(run)
    error = round_trip(original)

    assert [f.end_lineno for f in traceback.extract_tb(error.__traceback__)] == [
        f.end_lineno for f in traceback.extract_tb(original.__traceback__)
    ]


# -- source text


def test_source_that_only_the_worker_has_is_shown(arrived: Answer) -> None:
    error = unpack(arrived["source in memory"][0])
    linecache.checkcache()

    last = traceback.extract_tb(error.__traceback__)[-1]
    assert (last.filename, last.lineno, last.name) == ("<cell 1>", 3, "typed")
    assert last.line == "return y / 0"


def test_source_of_another_text_with_the_same_name_is_not_mixed_up() -> None:
    first = pack_exception(raising.typed("<both>"), cloudpickle.dumps)
    other = pack_exception(raising.typed("<both>", "def typed(x):\n    return [][x]\n"), cloudpickle.dumps)
    linecache.cache.pop("<both>")

    one, two, again = unpack(first), unpack(other), unpack(first)

    assert frames_of(one)[-1] == ("typed", "return y / 0")
    assert frames_of(two)[-1] == ("typed", "return [][x]")
    assert frames_of(again)[-1] == ("typed", "return y / 0")
    assert traceback.extract_tb(two.__traceback__)[-1].filename.startswith("<both#")


@pytest.mark.parametrize("command", ["one line, but not the one\n", "run = worker\n\n\n"])
def test_a_text_that_only_has_the_same_name_is_not_shipped(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    original = raising.typed("<string>")
    monkeypatch.setitem(
        linecache.cache, "<string>", (len(command), None, command.splitlines(True), "<string>")
    )
    monkeypatch.setattr(sys, "orig_argv", ["python", "-c", command])
    data = pack_exception(original, cloudpickle.dumps)
    monkeypatch.delitem(linecache.cache, "<string>")

    error = unpack(data)

    last = traceback.extract_tb(error.__traceback__)[-1]
    assert (last.filename, last.name, last.lineno) == ("<string>", "typed", 3)
    assert not last.line


def test_of_a_long_source_the_needed_part_travels() -> None:
    filler = "".join(f"# line {i} {'x' * 40}\n" for i in range(20_000))
    source = filler + "def typed(x):\n    return x / 0\n"
    data = pack_exception(raising.typed("<long>", source), cloudpickle.dumps)
    linecache.cache.pop("<long>")

    error = unpack(data)

    assert len(data) < 60_000
    assert frames_of(error)[-1] == ("typed", "return x / 0")


def test_files_on_disk_are_not_shipped() -> None:
    data = pack_exception(raising.caught(lambda: ValueError("x")), cloudpickle.dumps)

    assert b"raise make()" not in data


def test_the_parent_keeps_a_bounded_number_of_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_frames, "MAX_TEXTS", 5)
    for i in range(20):
        _frames.register({f"<bounded {i}>": [f"text {i}\n"]})

    kept = [name for name in linecache.cache if str(name).startswith("<bounded")]

    assert kept == [f"<bounded {i}>" for i in range(15, 20)]


# -- it never fails, and it touches nothing


def test_a_pickler_that_always_fails_still_gives_an_exception() -> None:
    def dumps(obj: object) -> bytes:
        raise SystemExit("no")

    error = round_trip(raising.with_cause(), dumps)

    assert type(error) is ValueError
    assert type(error.__cause__) is KeyError
    stand_in = round_trip(raising.caught(lambda: raising.KeywordOnly(code=1, data={})), dumps)
    assert isinstance(stand_in, errors.RemoteError)
    assert isinstance(stand_in, raising.KeywordOnly)
    assert stand_in.code == 1


def test_an_unpickler_that_always_fails_still_gives_an_exception() -> None:
    def loads(data: bytes) -> object:
        raise GeneratorExit

    data = pack_exception(raising.caught(lambda: raising.KeywordOnly(code=1, data={})), cloudpickle.dumps)
    error: Any = unpack_exception(data, loads)

    assert isinstance(error, errors.RemoteError)
    assert isinstance(error, raising.KeywordOnly)
    assert error.reason == "GeneratorExit"


@pytest.mark.parametrize("data", [b"", b"junk", pickle.dumps(3), pickle.dumps(((), {}))])
def test_bytes_that_are_no_record_give_a_remote_error(data: bytes) -> None:
    error = unpack(data)

    assert type(error) is errors.RemoteError
    assert "could not be read" in str(error)


def test_a_truncated_record_gives_a_remote_error() -> None:
    data = pack_exception(raising.with_cause(), cloudpickle.dumps)

    for end in range(0, len(data), 7):
        assert isinstance(unpack(data[:end]), errors.RemoteError)


def test_a_failure_to_set_the_state_of_one_spoils_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    from ezflow import _tracebacks

    def rebuild(places: Any, renamed: Any) -> Any:
        if places[-1].name == "run":
            raise MemoryError
        return _frames.rebuild(places, renamed)

    monkeypatch.setattr(_tracebacks, "rebuild", rebuild)

    error = round_trip(raising.with_cause())

    assert type(error) is ValueError
    assert "MemoryError" in error.__notes__[0]
    assert type(error.__cause__) is KeyError
    assert frames_of(error.__cause__)[-1] == ("inner", "raise make()")


def test_packing_survives_a_broken_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> Any:
        raise MemoryError

    monkeypatch.setattr("ezflow._tracebacks._Packer.pack", broken)

    error = round_trip(raising.caught(lambda: raising.KeywordOnly(code=1, data={})))

    assert isinstance(error, raising.KeywordOnly)
    assert (error.type_name, error.message) == ("tests.raising.KeywordOnly", "code 1")
    assert "MemoryError" in error.reason


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, CallInterrupted])
def test_an_interrupt_passes_through(interrupt: type[BaseException]) -> None:
    def stop(obj: object) -> Any:
        raise interrupt

    error = raising.caught(lambda: raising.Slots([1], [2]))

    with pytest.raises(interrupt):
        pack_exception(error, stop)
    with pytest.raises(interrupt):
        unpack_exception(pack_exception(error, cloudpickle.dumps), stop)


def test_nothing_is_installed() -> None:
    before = dict(copyreg.dispatch_table)

    round_trip(raising.nested_group())

    assert copyreg.dispatch_table == before


def test_a_registered_reducer_is_honoured() -> None:
    class Registered(Exception):
        pass

    copyreg.pickle(Registered, lambda error: (raising.ManyArgs, (1, "from copyreg")))
    try:
        error = round_trip(raising.caught(lambda: Registered("x")))
    finally:
        del copyreg.dispatch_table[Registered]

    assert type(error) is raising.ManyArgs


def test_many_threads_can_unpack_at_once() -> None:
    data = [pack_exception(make(), cloudpickle.dumps) for make in raising.FAITHFUL.values()]
    failures: list[BaseException] = []

    def work() -> None:
        failures.extend(error for error in map(unpack, data) if isinstance(error, errors.RemoteError))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert not failures


# -- any graph


TYPES: list[Callable[[int], BaseException]] = [
    ValueError,
    lambda i: OSError(i, "text", f"file {i}"),
    lambda i: raising.KeywordOnly(code=i, data={"i": i}),
    lambda i: raising.OwnReduce(i, i),
    lambda i: raising.Slots(i, [i]),
    SystemExit,
]


@st.composite
def graphs(draw: st.DrawFn) -> BaseException:
    nodes: list[BaseException] = []
    for i in range(draw(st.integers(1, 12))):
        members = draw(st.lists(st.integers(0, i - 1), max_size=3)) if i else []
        if members:
            error: BaseException = BaseExceptionGroup(f"g{i}", [nodes[m] for m in members])
        else:
            error = draw(st.sampled_from(TYPES))(i)
        if draw(st.booleans()):
            error.add_note(f"note {i}")
        if draw(st.booleans()):
            error = raising.caught(lambda error=error: error)
        nodes.append(error)
    pick = st.none() | st.sampled_from(nodes)
    for error in nodes:
        error.__cause__ = draw(pick)
        error.__context__ = draw(pick)
        error.__suppress_context__ = draw(st.booleans())
        if draw(st.booleans()):
            error.linked = draw(pick)
    for error in nodes:
        if isinstance(error, raising.OwnReduce):
            del error.lock
    return draw(st.sampled_from(nodes))


@settings(deadline=None)
@given(graphs())
def test_any_graph_of_causes_contexts_groups_and_attributes_arrives(error: BaseException) -> None:
    def shape(error: Any) -> Any:
        told = raising.facts(error)
        for one in told:
            one["dict"].pop("lock", None)  # OwnReduce makes it anew
        return told

    assert shape(round_trip(error)) == shape(error)
