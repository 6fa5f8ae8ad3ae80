-- R0.39 R0.60 R0.61 R0.62
local t = require "t"

local function fails(c)
    t.eq(c:connect(), true, "it is begun, and fails later")
    local what, code = t.event(c, "error")
    t.eq(what, "connect")
    t.eq(code, 0)
    t.eq(t.event(c, "disconnect"), 0)
    t.event(c, "close")
    t.eq(c:state(), 0)
end

t.run(function()
    fails(t.client("nowhere", { host = "nosuch.invalid" }))
    fails(t.client("nobody", { port = t.number("nobody") }))
    -- TLS to a port without, and the other way round.
    fails(t.client("tls-to-plain", { ssl = true }))
    local plain = t.client("plain-to-tls", { port = t.number("tls") })
    t.eq(plain:connect(), true)
    t.find(plain, "disconnect")
    t.eq(plain:state(), 0)
end)
