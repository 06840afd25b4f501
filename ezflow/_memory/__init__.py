"""Memory that two processes share: big values travel beside their messages and are not copied through a socket.

::

    lender (fills)                                           receiver (looks)
    Arena ── lend ──▶ Lease ── Lending.offer ══ table, fd ══▶ Borrowing.accept ──▶ memoryviews
      ▲                 │                                             │ last view is gone
      └── collected ◀───┘ ◀══════════════ Borrowing.returns ◀═════════╝

Both sides have all four: calls are lent to workers, results to the parent.

Who owns what
-------------
* A segment belongs to the process that made it, which alone fills it, and only while nobody holds a lease on it.
* A lease is held by a call that may be sent (again), by a reference that the user holds, and by each loan.
  When the last holder lets go the segment is free, to be filled once more.  Counting is Python's own.
* A loan is one lease given to one receiver.  It ends when the receiver returns it, when the call it was for is taken
  back unread, or when the receiver is gone.
* An *exclusive* loan may be written to: nobody else reads that memory.  Of a *shared* one the receiver gets a private
  mapping, in which its own writes are copies of pages.
* Finalisers run inside any line: they append to a deque, and that is all they do.

If either side dies, the system frees what nobody maps: no segment has a name.
"""
