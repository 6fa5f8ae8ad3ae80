-- Prints each message of some topics. Subscriptions belong to a connection, so they are made at each.
--   martlet lua subscribe.lua [HOST [PORT]]
PROJECT, VERSION = "subscribe", "1.0.0"
local sys = require "sys"
local host, port = ...

local client = mqtt.create(nil, host or "127.0.0.1", tonumber(port) or 1883)
client:auth("desk-subscribe")
client:autoreconn(true, 3000)
client:on(function(_, event, data, payload, metas)
    if event == "conack" then
        client:subscribe({ ["S013/+/RECM"] = 1, ["S013/#"] = 0 })
    elseif event == "suback" then
        log.info("subscribe", data and "granted" or "refused", payload)
    elseif event == "recv" then
        log.info("subscribe", data, payload, "QoS " .. metas.qos)
    end
end)
client:connect()

sys.run()
