"""The wire: how calls and values become bytes, and how bytes travel."""
