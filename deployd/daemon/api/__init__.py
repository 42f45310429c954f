"""What programs call: one module a noun. A request comes in through the one door (auth.py), JSON goes out."""
