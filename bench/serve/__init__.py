"""The whole chain, gateway and loader, beside other Python model servers."""
