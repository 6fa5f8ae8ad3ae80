-- R0.6 R0.55
local t = require "t"

-- Many messages in order, and no memory that grows with them.
local TOTAL = 20000

t.run(function()
    local c = mqtt.create(nil, "127.0.0.1", t.port)
    c:auth("many")
    local came, sent, ready = 0, 0
    c:on(function(_, event, _, payload)
        if event == "conack" then c:subscribe("many", 1) end
        if event == "suback" then sys.publish("ready") end
        if event == "sent" then sent = sent + 1 end
        if event == "recv" then
            came = came + 1
            t.eq(payload, tostring(came))
        end
        if event == "disconnect" then error("the connection is gone") end
    end)
    c:connect()
    t.eq(sys.waitUntil("ready", 10000), true)
    collectgarbage()
    local before = collectgarbage("count")
    local n, refused = 0, 0
    while n < TOTAL do
        if c:publish("many", tostring(n + 1), 1) then
            n = n + 1
            -- As many under way as a device would have.
            while n - came > 500 do sys.wait(1) end
        else
            refused = refused + 1
            t.ok(refused < 1000, "it takes nothing any more")
            sys.wait(10)
        end
    end
    local end_ms = rtos.tick() + 20000
    while (came < TOTAL or sent < TOTAL) and rtos.tick() < end_ms do sys.wait(5) end
    t.eq(came, TOTAL)
    t.eq(sent, TOTAL)
    collectgarbage()
    local grown = collectgarbage("count") - before
    t.ok(grown < 256, "it has grown by " .. grown .. " KiB")
end)
