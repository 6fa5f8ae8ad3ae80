-- R0.37
local t = require "t"

t.run(function()
    local other = t.connected("sends")
    local function gets(bytes, opts)
        local c = t.connected("rx", { opts = opts })
        t.subscribed(c, "big", 1)
        other:publish("big", ("x"):rep(bytes), 1)
        t.event(other, "sent")
        return c
    end
    local c = gets(4000, { rxSize = 4096 })
    local _, payload = t.event(c, "recv")
    t.eq(#payload, 4000)
    c:close()
    c = gets(5000, { rxSize = 4096 })
    t.eq(t.event(c, "disconnect"), 0)
    t.event(c, "close")
    local what, code = t.event(c, "error")
    t.eq(what, "connect")
    t.eq(code, 100)
    -- 32 KiB without.
    c = gets(32000)
    _, payload = t.event(c, "recv")
    t.eq(#payload, 32000)
    c:close()
    c = gets(33000)
    t.event(c, "disconnect")
    t.event(c, "close")
    what, code = t.event(c, "error")
    t.eq(code, 100)
end)
