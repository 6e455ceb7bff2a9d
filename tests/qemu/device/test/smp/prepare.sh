# Nothing: the checks make containers of the command line.
