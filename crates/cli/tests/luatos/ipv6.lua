-- R0.26 R0.36
local t = require "t"

t.run(function()
    for _, host in ipairs { "::1", t.args.six_name } do
        local c = t.client("six", { host = host, port = t.number("six"), opts = { ipv6 = true } })
        c:connect()
        t.event(c, "conack")
        c:close()
    end
    local c = t.client("six", { host = "::1", port = t.number("six"), opts = true })
    c:connect()
    t.event(c, "conack")
    c:close()
    -- Where there is no such address, the other is as good.
    c = t.client("four", { host = "127.0.0.1", opts = { ipv6 = true } })
    c:connect()
    t.event(c, "conack")
end)
