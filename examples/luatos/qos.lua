-- What each QoS means for who sends and for who receives.
--   martlet lua qos.lua [HOST [PORT]]
PROJECT, VERSION = "qos", "1.0.0"
local sys = require "sys"
local host, port = ...

local function connected(name)
    local client = mqtt.create(nil, host or "127.0.0.1", tonumber(port) or 1883)
    client:auth(name)
    client:on(function(_, event, data, payload, metas)
        sys.publish(name .. event, data, payload, metas)
    end)
    client:connect()
    sys.waitUntil(name .. "conack")
    return client
end

sys.taskInit(function()
    local receiver = connected("qos-receiver")
    receiver:subscribe("qos/+", 2)
    sys.waitUntil("qos-receiversuback")
    local sender = connected("qos-sender")
    for qos = 0, 2 do
        -- 0: it has left. 1: the server has it. 2: the server has it once.
        local id = sender:publish("qos/" .. qos, "message", qos)
        local _, topic, _, metas = sys.waitUntil("qos-receiverrecv")
        log.info("qos", topic, "came with QoS " .. metas.qos, id > 0 and "acknowledged" or "not acknowledged")
    end
    -- The lower of the two counts.
    receiver:subscribe("qos/low", 0)
    sys.waitUntil("qos-receiversuback")
    receiver:unsubscribe("qos/+")
    sys.waitUntil("qos-receiverunsuback")
    sender:publish("qos/low", "message", 2)
    local _, topic, _, metas = sys.waitUntil("qos-receiverrecv")
    log.info("qos", topic, "came with QoS " .. metas.qos)
end)

sys.run()
