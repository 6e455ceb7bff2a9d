# Nothing: the checks make their own bundles.
