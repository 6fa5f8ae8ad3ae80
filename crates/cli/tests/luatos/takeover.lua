-- R0.43 R0.58
local t = require "t"

t.run(function()
    local first = t.connected("same")
    local second = t.connected("same")
    t.eq(t.event(first, "disconnect"), 0)
    t.event(first, "close")
    t.eq(first:ready(), false)
    t.eq(first:state(), mqtt.STATE_DISCONNECT)
    t.eq(second:ready(), true)
end)
