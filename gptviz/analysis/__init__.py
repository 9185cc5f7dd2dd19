"""Numbers out of a `Trace`: pure functions, arrays in and arrays out. Knows nothing about figures or pages."""
