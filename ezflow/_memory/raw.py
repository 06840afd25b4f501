"""Copy and compare memory without holding the interpreter lock; imported at the first large buffer."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import mmap


class _PyBuffer(ctypes.Structure):
    """`Py_buffer` of CPython's stable interface (https://docs.python.org/3/c-api/buffer.html)."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


_get: Final = ctypes.pythonapi.PyObject_GetBuffer
_get.argtypes = (ctypes.py_object, ctypes.POINTER(_PyBuffer), ctypes.c_int)
_get.restype = ctypes.c_int
_release: Final = ctypes.pythonapi.PyBuffer_Release
_release.argtypes = (ctypes.POINTER(_PyBuffer),)
_release.restype = None
_library: Final = ctypes.CDLL(None)
_compare: Final = _library.memcmp
_compare.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_compare.restype = ctypes.c_int


_map: Final = _library.mmap
_map.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_long,
)
_map.restype = ctypes.c_void_p
_FIXED: Final = 0x10
"""``MAP_FIXED``: in the place of what is mapped there; the same number on Linux and macOS."""


def make_private(mapped: Any, fd: int, nbytes: int) -> None:
    """Replace a shared mapping by a private one of the same file at the same address."""
    import mmap

    with memoryview(mapped) as held:
        address = address_of(held)
    flags = mmap.MAP_PRIVATE | _FIXED
    if _map(address, nbytes, mmap.PROT_READ | mmap.PROT_WRITE, flags, fd, 0) != address:
        raise MemoryError("a mapping could not be made private")


def address_of(buffer: Any) -> int:
    """Give the address of a contiguous buffer, which the caller keeps alive."""
    found = _PyBuffer()
    _get(buffer, ctypes.byref(found), 0)
    address = found.buf or 0
    _release(ctypes.byref(found))
    return address


def copy(target: mmap.mmap, offset: int, source: Any) -> None:
    """Copy a contiguous buffer into a mapping."""
    with memoryview(target) as held, memoryview(source) as view:
        ctypes.memmove(address_of(held) + offset, address_of(view), view.nbytes)


def are_equal(mapped: mmap.mmap, buffer: memoryview) -> bool:
    """Tell whether a mapping begins with the content of a buffer."""
    with memoryview(mapped) as held:
        return bool(_compare(address_of(held), address_of(buffer), buffer.nbytes) == 0)


def exporter(mapped: mmap.mmap, nbytes: int) -> Any:
    """Give an object over the first bytes of a mapping that lives exactly as long as the last view of it.

    A weak reference to a memoryview would not do: arrays hold the object below it.
    """
    return (ctypes.c_char * nbytes).from_buffer(mapped)
