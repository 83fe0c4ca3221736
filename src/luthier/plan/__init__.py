"""What a run will be, known before a weight is loaded: parameters, steps, memory, FLOPs, time, disk. No torch."""
