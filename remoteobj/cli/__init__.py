"""The command line: `python -m remoteobj`, and the script `remoteobj`.

One module per command, and the words and the table that they share. All of it stands on the public
modules alone: whatever it does, a program can do as well. No other module imports it.
"""
