"""WebGate, the door: routes, validates, answers. It never learns what a frame looks like."""
