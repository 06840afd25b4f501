"""How calls reach worker processes and come back: machine, dispatcher, worker, child processes."""
