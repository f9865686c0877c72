"""The command line: arguments, help and exit codes. Imports nothing heavy."""
