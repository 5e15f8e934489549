"""HRM, TRM and a transformer behind one interface."""
