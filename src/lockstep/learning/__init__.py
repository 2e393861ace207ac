"""Networks, gradient training, and the record from which every step comes back."""
