-- R0.2
local t = require "t"

t.run(function()
    local function connects(url, ssl)
        local c = mqtt.create(nil, url, nil, ssl)
        t.ok(c, url)
        t.eq(c:auth("web"), true)
        t.listen(c)
        c:connect()
        t.event(c, "conack")
        t.subscribed(c, "web", 1)
        c:publish("web", "through a web", 1)
        local _, payload = t.find(c, "recv")
        t.eq(payload, "through a web")
        c:close()
    end
    connects("ws://127.0.0.1:" .. t.args.ws .. "/mqtt")
    connects("wss://127.0.0.1:" .. t.args.wss .. "/mqtt", true)
    connects("wss://127.0.0.1:" .. t.args.wss .. "/mqtt", { server_cert = io.readFile("/luadb/ca.pem") })
    t.eq(mqtt.create(nil, "ws://"), nil)
end)
