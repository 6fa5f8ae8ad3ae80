-- R0.1 R0.58
local t = require "t"

t.run(function()
    local c = t.connected("five", { opts = { version = 5 } })
    t.subscribed(c, "five", 2)
    local id = c:publish("five", "x", 2)
    t.eq(t.find(c, "recv"), "five")
    t.ok(id > 0)
    -- The server says why it goes.
    local left = t.client("fake-leaves5", { port = t.number("fake"), opts = { version = 5 } })
    left:connect()
    t.event(left, "conack")
    t.eq(t.event(left, "disconnect"), -2)
    t.event(left, "close")
    local mirror = t.client("fake-mirror5", { port = t.number("fake"), opts = { version = 5 } })
    t.eq(t.said(mirror).level, 5)
end)
