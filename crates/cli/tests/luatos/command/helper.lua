return { name = i2c.setup(0), ticks = mcu.ticks() }
