"""What spans the stack: set-up, doctor, status, destroy."""
