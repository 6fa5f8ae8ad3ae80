-- R0.25 R0.26 R0.27 R0.28 R0.35 R0.36 R0.37 R0.38 R0.39
local t = require "t"

local function works(...)
    local c = mqtt.create(...)
    t.eq(type(c), "userdata")
    t.eq(c:auth("create"), true)
    t.listen(c)
    t.eq(c:connect(), true)
    t.event(c, "conack")
    c:close()
end

t.run(function()
    works(nil, "127.0.0.1", t.port)
    works(socket.dft(), "127.0.0.1", t.port)
    works(socket.LWIP_GP, "localhost", t.port, nil, {})
    works(nil, "127.0.0.1", t.port, false, { rxSize = 4096 })
    works(nil, "127.0.0.1", t.port, nil, { ipv6 = false, rxSize = 0, conn_timeout = 15 })
    works(nil, "127.0.0.1", t.port, nil, false)
    -- A number as the network stack of a module holds it.
    works(nil, 0x0100007f, t.port)
    works(nil, "127.0.0.1", tostring(t.port))
    t.eq(mqtt.create(99, "127.0.0.1", t.port), nil)
    t.eq(mqtt.create(-1, "127.0.0.1", t.port), nil)
    t.eq(mqtt.create(nil, ("x"):rep(192), t.port), nil)
    t.eq(mqtt.create(nil, "127.0.0.1", 0), nil)
    t.eq(mqtt.create(nil, "127.0.0.1", 65536), nil)
    t.eq(mqtt.create(nil, "ws://" .. ("x"):rep(256)), nil)
    t.eq(mqtt.create(nil, "127.0.0.1", t.port, nil, { version = 3 }), nil)
    for _, wrong in ipairs {
        { { nil, nil, 1 }, "#2 to 'create' %(string expected, got nil%)" },
        { { nil, {}, 1 }, "#2 to 'create' %(string expected, got table%)" },
        { { nil, "127.0.0.1" }, "#3 to 'create' %(number expected, got no value%)" },
        { { nil, "127.0.0.1", "x" }, "#3 to 'create' %(number expected, got string%)" },
        { { {}, "127.0.0.1", 1 }, "#1 to 'create' %(number expected, got table%)" },
    } do
        local ok, said = pcall(mqtt.create, table.unpack(wrong[1], 1, wrong[2]:find("no value") and 2 or 3))
        t.eq(ok, false)
        t.ok(said:find(wrong[2]), said)
    end
    local _, said = pcall(function() mqtt.create(nil, nil, 1) end)
    t.ok(said:find("create.lua:%d+: bad argument #2"), said)
end)
