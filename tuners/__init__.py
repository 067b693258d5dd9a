"""Search spaces, an oracle and tuners on top of KerasTuner."""
