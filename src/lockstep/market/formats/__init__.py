"""Files as people have them: packing, encoding, layout, times, decimal marks, and which program wrote them."""
