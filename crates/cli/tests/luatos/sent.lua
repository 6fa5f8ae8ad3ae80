-- R0.6 R0.10
local t = require "t"

t.run(function()
    local c = mqtt.create(nil, "127.0.0.1", t.port)
    c:auth("sent")
    c:on(function(_, event, data)
        if event == "conack" then sys.publish("mqtt_conack") end
        if event == "sent" then sys.publish("mqtt_sent", data) end
    end)
    c:connect()
    t.eq(sys.waitUntil("mqtt_conack", 5000), true)
    local id = c:publish("a", "b", 1)
    local result, data = sys.waitUntil("mqtt_sent", 3000)
    t.eq(result, true)
    t.eq(data, id)
    -- Nothing is sent, so nothing comes.
    t.eq(sys.waitUntil("mqtt_sent", 50), false)
end)
