-- R0.1 R0.3 R0.13 R0.14 R0.42 R0.47 R0.52 R0.61 R0.62 R0.72 R0.77
local t = require "t"

t.run(function()
    local c = t.client("connect")
    t.eq(c:ready(), false)
    t.eq(c:connect(), true)
    t.eq(c:state(), mqtt.STATE_SCONNECT)
    t.eq(c:ready(), false)
    t.eq(t.count(t.event(c, "conack")), 3)
    t.eq(c:ready(), true)
    t.eq(c:state(), mqtt.STATE_READY)
    t.eq(c:connect(), false, "connect of one that is connected")
    c:close()
    -- Between the socket and CONNACK.
    local silent = t.client("fake-silent", { port = t.number("fake") })
    t.eq(silent:connect(), true)
    local until_ms = rtos.tick() + 5000
    while silent:state() ~= mqtt.STATE_MQTT and rtos.tick() < until_ms do sys.wait(5) end
    t.eq(silent:state(), mqtt.STATE_MQTT)
    t.eq(silent:ready(), false)
    silent:close()
    -- What it says of itself.
    local said = t.said(t.client("fake-mirror", { port = t.number("fake") }))
    t.eq(said.protocol, "MQTT")
    t.eq(said.level, 4)
    t.eq(said.client_id, "fake-mirror")
    t.eq(said.flags, 2)
    t.eq(said.keep_alive, 240)
    log.info("mqtt", "connected")
end)
