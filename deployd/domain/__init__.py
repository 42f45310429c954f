"""The words of deployd as frozen values: parsed ids and plain data, no I/O, no imports from elsewhere in deployd."""
