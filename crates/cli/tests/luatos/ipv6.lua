-- R0.26 R0.36
local t = require "t"

t.run(function()
    for _, host in ipairs { "::1", "localhost", "ip6-localhost" } do
        if host ~= "ip6-localhost" or t.args.has_ip6_localhost then
            local c = t.client("six", { host = host, port = t.number("six"), opts = { ipv6 = true } })
            c:connect()
            t.event(c, "conack")
            c:close()
        end
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
