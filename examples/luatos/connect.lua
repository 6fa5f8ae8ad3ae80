-- Connects to a server and says when the connection is there and when it is gone.
--   martlet lua connect.lua [HOST [PORT]]
PROJECT, VERSION = "connect", "1.0.0"
local sys = require "sys"
local host, port = ...

sys.taskInit(function()
    local client = mqtt.create(nil, host or "127.0.0.1", tonumber(port) or 1883)
    client:auth("desk-connect")
    client:keepalive(60)
    client:autoreconn(true, 3000)
    client:on(function(_, event, data, payload)
        if event == "conack" then
            log.info("connect", "connected")
        elseif event == "error" then
            log.error("connect", data, payload)
        elseif event == "disconnect" then
            log.warn("connect", "disconnected")
        end
    end)
    client:connect()
end)

sys.run()
