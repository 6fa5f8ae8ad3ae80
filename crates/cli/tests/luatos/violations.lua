-- R0.58 R0.60
local t = require "t"

local function breaks(name, code)
    local c = t.client("fake-" .. name, { port = t.number("fake") })
    c:connect()
    t.find(c, "disconnect")
    t.event(c, "close")
    local what, why = t.event(c, "error")
    t.eq(what, "connect", name)
    t.eq(why, code, name)
end

t.run(function()
    breaks("twice", 95)
    breaks("early", 96)
    breaks("qos3", 98)
    breaks("malformed", 99)
    -- A refusal of each kind.
    for code = 1, 5 do
        local c = t.client("fake-connack" .. code, { port = t.number("fake") })
        c:connect()
        t.eq(t.event(c, "disconnect"), code)
        t.event(c, "close")
        local what, why = t.event(c, "error")
        t.eq(what, "conack")
        t.eq(why, code)
    end
    -- A refusal does not keep it from connecting again.
    local c = t.client("fake-connack3", { port = t.number("fake") })
    c:autoreconn(true, 1000)
    c:connect()
    for _ = 1, 2 do
        t.eq(t.event(c, "disconnect"), 3)
        t.event(c, "error")
    end
    c:close()
    -- One that is not MQTT at all.
    local web = t.client("fake-web", { port = t.number("fake") })
    web:connect()
    t.event(web, "disconnect")
    t.event(web, "close")
    local what = t.event(web, "error")
    t.eq(what, "other")
    -- One that hangs up without a word.
    local gone = t.client("fake-gone", { port = t.number("fake") })
    gone:connect()
    t.event(gone, "disconnect")
    t.event(gone, "close")
end)
