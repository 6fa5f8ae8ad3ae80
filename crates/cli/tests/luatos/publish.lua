-- R0.6 R0.7 R0.8 R0.9 R0.57 R0.66 R0.67 R0.68 R0.69 R0.70
local t = require "t"

t.run(function()
    local c = t.client("publish")
    t.eq(t.count(c:publish("a", "x", 1)), 0, "without a connection")
    c:connect()
    t.event(c, "conack")
    t.subscribed(c, "a/#", 2)
    -- The order of "sent" and "recv" is the server's, but for QoS 0: "sent" comes first.
    t.eq(c:publish("a/0", "zero"), 0)
    t.eq(t.event(c, "sent"), 0)
    t.eq(t.event(c, "recv"), "a/0")
    for qos = 1, 2 do
        local id = c:publish("a/" .. qos, "payload", qos)
        t.ok(id > 0)
        local seen = {}
        for _ = 1, 2 do
            sys.wait(1)
            seen[#seen + 1] = t.any(c)
        end
        table.sort(seen, function(one, other) return one[1] > other[1] end)
        t.eq(seen[1][1], "sent")
        t.eq(seen[1][2], id)
        t.eq(seen[2][1], "recv")
        t.eq(seen[2][4].qos, qos)
    end
    -- Any other QoS is 0.
    t.eq(c:publish("a/3", "x", 3), 0)
    t.event(c, "sent")
    local _, _, metas = t.event(c, "recv")
    t.eq(metas.qos, 0)
    -- Payloads: empty, of any bytes, a number, a buffer; anything else is empty.
    local all = {}
    for byte = 0, 255 do all[#all + 1] = string.char(byte) end
    local buffer = zbuff.create(64)
    buffer:write("in a buffer")
    for _, pair in ipairs {
        { "", "" }, { table.concat(all), table.concat(all) }, { 12, "12" }, { buffer, "in a buffer" }, { {}, "" },
        { nil, "" },
    } do
        c:publish("a/p", pair[1], 0, 0)
        t.event(c, "sent")
        local _, payload = t.event(c, "recv")
        t.eq(payload, pair[2])
    end
    -- What no server takes is not sent.
    t.eq(t.count(c:publish("a/+", "x")), 0)
    t.eq(t.count(c:publish("", "x")), 0)
    t.eq(t.count(c:publish("\xff", "x")), 0)
    local ok, said = pcall(c.publish, c)
    t.ok(not ok and said:find("bad argument #2 to 'publish' %(string expected, got no value%)"), said)
    ok, said = pcall(c.publish, c, "a", "x", "y")
    t.ok(not ok and said:find("bad argument #4 to 'publish'"), said)
    -- A retained message stays for those who come later, until an empty one takes its place.
    c:publish("kept", "still here", 1, 1)
    t.event(c, "sent")
    local later = t.connected("publish-later")
    later:subscribe("kept", 1)
    local seen = { t.any(later), t.any(later) }
    table.sort(seen, function(one, other) return one[1] > other[1] end)
    t.eq(seen[1][1], "suback")
    t.eq(seen[2][3], "still here")
    t.eq(seen[2][4].retain, 1)
    c:publish("kept", "", 0, 2)
    t.event(c, "sent")
end)
