"""The command line: one module per command, loaded only when its command is named.

Rule 1: stdout is data, stderr is talk.
Rule 2: an error is one line on stderr and a documented exit status (docs/cli.md).
Rule 3: nothing out of a session reaches a terminal unescaped.
"""
