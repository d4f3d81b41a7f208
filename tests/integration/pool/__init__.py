"""The pool service over real sockets and a real Postgres."""
