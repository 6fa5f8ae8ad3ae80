-- R0.40 R0.41
local t = require "t"

-- The forms of the calls that the document shows, one after the other, on a client that is connected.
local host, tls = "127.0.0.1", t.number("tls")

local function connects(c)
    t.eq(type(c), "userdata")
    t.listen(c)
    t.eq(c:auth("forms"), true)
    t.eq(c:connect(), true)
    t.event(c, "conack")
    c:close()
end

t.run(function()
    connects(mqtt.create(nil, host, t.port))
    connects(mqtt.create(nil, host, t.port, nil, { rxSize = 4096 }))
    connects(mqtt.create(nil, host, tls, true))
    local ca = io.readFile("/luadb/ca.pem")
    connects(mqtt.create(nil, host, tls, { server_cert = ca }))
    connects(mqtt.create(nil, host, tls, { server_cert = ca, verify = 1 }))
    connects(mqtt.create(nil, host, t.number("mutual"), {
        server_cert = ca,
        client_cert = io.readFile("/luadb/client.pem"),
        client_key = io.readFile("/luadb/client-encrypted.key"),
        client_password = "123456",
    }))
    local c = t.connected("forms")
    c:subscribe("forms/one", 0)
    c:subscribe("forms/two", 1)
    c:subscribe({ ["forms/three"] = 1, ["forms/four"] = 2 })
    for _ = 1, 4 do t.event(c, "suback") end
    c:unsubscribe("forms/one")
    c:unsubscribe({ "forms/two", "forms/three" })
    for _ = 1, 3 do t.event(c, "unsuback") end
    c:publish("forms/five", "123")
    t.event(c, "sent")
    t.eq(c:ready(), true)
    t.eq(c:state(), 3)
    t.eq(c:disconnect(), true)
    t.event(c, "disconnect")
    t.event(c, "close")
    t.eq(c:will("forms/will", "xxxxxx"), true)
    t.eq(c:auth("forms-2", "username", "password"), true)
    t.eq(c:auth("forms-2", "username", "password", false), true)
    t.eq(c:auth(), true)
    c:keepalive(30)
    c:autoreconn(true)
    t.eq(c:connect(), true)
    t.event(c, "conack")
    c:close()
end)
