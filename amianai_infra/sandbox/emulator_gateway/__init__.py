"""What stands between the emulator and everything else on the machine: who may call what, and the emulator's server behind it.

Runs in the emulator's own venv, where no other part of this package can be imported: the modules here import each other, the
standard library and botocore, and nothing else of ours.
"""
