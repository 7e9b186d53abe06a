"""The server side: reports in, frames of changes out."""
