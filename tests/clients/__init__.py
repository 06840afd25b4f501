"""Real users of an executor, running on our class: ``nox -s clients``."""
