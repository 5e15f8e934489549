"""The models: HRM, TRM and a transformer behind one interface, `act.ACT`."""
