"""Races repeated many times: scripts that take ``--rounds``, and the tests that run them."""
