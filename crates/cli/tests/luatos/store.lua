-- R0.5 R0.11
local t = require "t"

t.run(function()
    -- The server takes the message and hangs up before PUBCOMP: the next connection asks again.
    local folder = t.args.folder .. "/store"
    local opts = { store = folder }
    local c = t.client("fake-lost", { port = t.number("fake"), opts = opts, clean = false })
    c:autoreconn(true, 1000)
    c:connect()
    t.event(c, "conack")
    local id = c:publish("a", "exactly once", 2)
    t.ok(id > 0)
    t.event(c, "disconnect")
    t.event(c, "conack")
    t.eq(t.event(c, "sent"), id)
    c:close()
    -- What was accepted without a connection leaves with the next, also of another object.
    local first = t.client("kept", { opts = { store = folder .. "-2" }, clean = false })
    local kept = first:publish("b", "kept", 1)
    t.ok(kept > 0)
    first:close()
    local second = t.client("kept", { opts = { store = folder .. "-2" }, clean = false })
    second:connect()
    t.event(second, "conack")
    t.eq(t.event(second, "sent"), kept)
    second:disconnect()
    t.event(second, "disconnect")
    t.event(second, "close")
    -- What is published in between leaves with the next connection, QoS 0 as well, and what was set since counts.
    t.eq(second:publish("b", "zero"), 0)
    local later = second:publish("b", "one", 1)
    second:keepalive(20)
    second:connect()
    t.event(second, "conack")
    t.eq(t.event(second, "sent"), 0)
    t.eq(t.event(second, "sent"), later)
    -- Two cannot have one folder.
    local third = t.client("kept", { opts = { store = folder .. "-2" }, clean = false })
    t.eq(third:connect(), false)
end)
