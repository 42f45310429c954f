"""Certificates: read and checked (reading.py), and obtained from an authority by ACME (acme.py, obtaining.py)."""
