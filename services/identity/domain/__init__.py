"""What a sign-in is: challenges, addresses, sessions, roles. No I/O, no libraries."""
