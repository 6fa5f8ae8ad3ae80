local client = mqtt.create(nil, "127.0.0.1", 1883)
client:publish({}, "x")
