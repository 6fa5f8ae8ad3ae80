local client = mqtt.create(nil, "127.0.0.1", 1883)
client:auth("traced")
client:on(function(_, event)
    if event == "conack" then client:subscribe("a", 1) end
    if event == "suback" then client:publish("a", "x", 1) end
    if event == "sent" then os.exit(0) end
end)
client:connect()
sys.run()
