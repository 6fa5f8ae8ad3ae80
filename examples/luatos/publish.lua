-- Publishes a reading every second, and knows that the server has it.
--   martlet lua publish.lua [HOST [PORT]]
PROJECT, VERSION = "publish", "1.0.0"
local sys = require "sys"
local host, port = ...

sys.taskInit(function()
    local client = mqtt.create(nil, host or "127.0.0.1", tonumber(port) or 1883)
    client:auth("desk-publish")
    client:autoreconn(true, 3000)
    client:on(function(_, event, data)
        if event == "conack" then sys.publish("connected") end
        if event == "sent" then sys.publish("sent", data) end
    end)
    client:connect()
    sys.waitUntil("connected")
    local n = 0
    while true do
        n = n + 1
        if client:publish("S013/MOT01/RECM", "DRVZ+" .. n, 1) then
            local is_sent = sys.waitUntil("sent", 3000)
            log.info("publish", n, is_sent and "is there" or "may be lost")
        end
        sys.wait(1000)
    end
end)

sys.run()
