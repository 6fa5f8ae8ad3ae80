-- R0.49 R0.59
local t = require "t"

t.run(function()
    local function said(...)
        local c = t.client("mirror", { port = t.number("mirror") })
        c:keepalive(...)
        local fields = t.said(c)
        c:close()
        return fields.keep_alive
    end
    t.eq(said(), 240)
    t.eq(said(30), 30)
    t.eq(said("60"), 60)
    t.eq(said(1), 15)
    t.eq(said(-1), 15)
    t.eq(said(601), 600)
    -- It counts from the next connection on, and a ping leaves after three quarters of it whatever else is sent.
    local c = t.client("pings")
    c:keepalive(15)
    local global
    sys.subscribe("MQTT_PONG", function(client) global = client end)
    c:connect()
    t.event(c, "conack")
    local begun = rtos.tick()
    sys.timerLoopStart(function() c:publish("traffic", "x") end, 500)
    while true do
        local event = t.any(c)
        if event[1] == "pong" then
            t.eq(#event, 1)
            break
        end
        t.eq(event[1], "sent")
    end
    local waited = rtos.tick() - begun
    t.ok(waited >= 11200 and waited < 15000, "after " .. waited .. " ms")
    sys.wait(10)
    t.eq(global, c)
end)
