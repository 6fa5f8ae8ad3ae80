-- A retained message waits at the server for those who come later.
--   martlet lua retained.lua [HOST [PORT]]
PROJECT, VERSION = "retained", "1.0.0"
local sys = require "sys"
local host, port = ...

local function connected(name, callback)
    local client = mqtt.create(nil, host or "127.0.0.1", tonumber(port) or 1883)
    client:auth(name)
    client:on(function(_, event, ...)
        callback(event, ...)
        sys.publish(name .. event)
    end)
    client:connect()
    sys.waitUntil(name .. "conack")
    return client
end

sys.taskInit(function()
    local sender = connected("retained-sender", function() end)
    sender:publish("retained/state", "open", 1, 1)
    sys.waitUntil("retained-sendersent", 3000)
    local receiver = connected("retained-receiver", function(event, data, payload, metas)
        if event == "recv" then log.info("retained", data, payload, metas.retain == 1 and "kept" or "new") end
    end)
    receiver:subscribe("retained/state", 1)
    sys.waitUntil("retained-receiverrecv", 3000)
    sender:publish("retained/state", "closed", 1, 1)
    sys.waitUntil("retained-receiverrecv", 3000)
    -- An empty one takes it away.
    sender:publish("retained/state", "", 1, 1)
    sys.waitUntil("retained-sendersent", 3000)
    log.info("retained", "taken away")
end)

sys.run()
