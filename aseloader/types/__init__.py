"""Values as an author writes them: JSON of a declared type, text, arrays, pictures."""
