-- R0.55 R0.56
local t = require "t"

t.run(function()
    local c = t.connected("recv")
    t.subscribed(c, "r/#", 2)
    for qos = 0, 2 do
        c:publish("r/" .. qos, "m" .. qos, qos)
        local topic, payload, metas = t.find(c, "recv")
        t.eq(math.type(metas.message_id), "integer")
        t.eq(metas.message_id > 0, qos > 0)
        t.eq(metas.qos, qos)
        t.eq(metas.retain, 0)
        t.eq(metas.dup, 0)
        t.eq(topic, "r/" .. qos)
        t.eq(payload, "m" .. qos)
    end
    -- A server that repeats: QoS 1 twice, QoS 2 once.
    local repeated = t.client("fake-repeat", { port = t.number("fake") })
    repeated:connect()
    t.event(repeated, "conack")
    local wanted = { { 1, 0, "one" }, { 1, 1, "one" }, { 2, 0, "two" }, { 0, 0, "end" } }
    for _, one in ipairs(wanted) do
        local _, payload, metas = t.event(repeated, "recv")
        t.eq(metas.qos, one[1])
        t.eq(metas.dup, one[2])
        t.eq(payload, one[3])
    end
end)
