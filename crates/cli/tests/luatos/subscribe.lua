-- R0.16 R0.17 R0.18 R0.19 R0.20 R0.21 R0.22 R0.23 R0.53 R0.54
local t = require "t"

t.run(function()
    local c = t.client("subscribe")
    t.eq(c:subscribe("a"), nil, "without a connection")
    t.eq(c:unsubscribe("a"), nil, "without a connection")
    c:connect()
    t.event(c, "conack")
    local ids = {}
    local function asked(id, code)
        t.eq(math.type(id), "integer")
        t.ok(id >= 1 and id <= 65535 and not ids[id], "identifier " .. id)
        ids[id] = true
        local granted, qos, metas = t.event(c, "suback")
        t.eq(granted, true)
        t.eq(qos, code)
        t.eq(metas, nil)
    end
    asked(c:subscribe("a/0"), 0)
    asked(c:subscribe("a/1", 1), 1)
    asked(c:subscribe("a/2", 2), 2)
    asked(c:subscribe("a/3", 3), 0)
    asked(c:subscribe("a/4", "1"), 1)
    -- One packet an entry; what is returned is the last identifier.
    local last = c:subscribe({ ["b/0"] = 0, ["b/1"] = 1, ["b/2"] = 2 })
    t.eq(math.type(last), "integer")
    local codes = {}
    for n = 1, 3 do
        local granted, code = t.event(c, "suback")
        t.eq(granted, true)
        codes[n] = code
    end
    table.sort(codes)
    t.eq(table.concat(codes, " "), "0 1 2")
    t.eq(c:subscribe(nil), 0)
    t.eq(c:subscribe("a/#/b"), nil, "no filter")
    t.eq(c:subscribe(""), nil, "no filter")
    local ok, said = pcall(c.subscribe, c, { [{}] = 1 })
    t.ok(not ok and said:find("bad argument #2 to 'subscribe'"), said)
    -- Each of them is served.
    for _, topic in ipairs { "a/0", "a/1", "b/0", "b/2" } do
        c:publish(topic, topic)
        t.event(c, "sent")
        t.eq(t.event(c, "recv"), topic)
    end
    local id = c:unsubscribe("a/0")
    t.ok(id >= 1)
    t.eq(t.event(c, "unsuback"), nil)
    t.ok(c:unsubscribe({ "b/0", "b/2" }) > id)
    t.event(c, "unsuback")
    t.event(c, "unsuback")
    t.eq(t.count(c:unsubscribe(nil)), 0)
    c:publish("a/0", "")
    c:publish("b/0", "")
    c:publish("a/1", "")
    for _ = 1, 3 do t.event(c, "sent") end
    t.eq(t.event(c, "recv"), "a/1", "the only one that is subscribed to")
    -- A refusal.
    local refused = t.client("fake-suback", { port = t.number("fake") })
    refused:connect()
    t.event(refused, "conack")
    refused:subscribe("x", 1)
    local granted, code = t.event(refused, "suback")
    t.eq(granted, false)
    t.eq(code, 0x80)
end)
