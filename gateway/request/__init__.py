"""What unary and streaming requests share: responses, records, checks, interfaces."""
