"""Networks on windows of candles: inputs, labels, parts, scores, and the plain models beside them."""
