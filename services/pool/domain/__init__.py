"""The pool's rules: pure values and functions, no I/O."""
