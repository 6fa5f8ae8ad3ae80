-- R0.38
local t = require "t"

t.run(function()
    -- The least is five seconds.
    local c = t.client("fake-silent", { port = t.number("fake"), opts = { conn_timeout = 1 } })
    local begun = rtos.tick()
    c:connect()
    local what, code = t.event(c, "error")
    t.eq(what, "timeout")
    t.eq(code, 0)
    local waited = rtos.tick() - begun
    t.ok(waited >= 4990 and waited < 9000, "after " .. waited .. " ms")
    t.eq(t.event(c, "disconnect"), 0)
    t.event(c, "close")
end)
