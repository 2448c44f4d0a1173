"""What the package itself needs, and nobody should import from outside: no name here is stable."""
