-- What the log says of calls that come to nothing.
local t = require "t"

local lines, print_before = {}, print

local function logged(wanted)
    t.eq(#lines, 1, "lines")
    t.eq(table.remove(lines), wanted)
end

t.run(function()
    function print(line) lines[#lines + 1] = line end
    local ok, why = xpcall(function()
        local before = "E/mqtt create: version is 4 (MQTT 3.1.1) or 5, not "
        for said, version in pairs({ ["3"] = 3, ["4.5"] = 4.5, ["'5'"] = "5", ["a table"] = {} }) do
            t.eq(mqtt.create(nil, "localhost", 1883, nil, { version = version }), nil)
            logged(before .. said)
        end
        t.eq(mqtt.create(nil, "localhost", 1883, { client_cert = "pem" }), nil)
        logged("E/mqtt create: client_cert without its client_key")
        t.eq(mqtt.create(nil, "localhost", 1883, { client_key = "pem" }), nil)
        logged("E/mqtt create: client_key without its client_cert")
        local c = t.connected("texts")
        c:publish("a", nil)
        logged("W/mqtt publish: a nil is no payload, an empty message is sent in its place")
        t.event(c, "sent")
        -- As of publish: a QoS that is none is 0.
        t.eq(c:will("a", "x", 3), true)
        c:subscribe(("#\27"):rep(100))
        t.ok(lines[1]:find("^W/mqtt subscribe: '#\\u{1b}#") and #lines[1] < 400, lines[1])
        table.remove(lines)
        c:disconnect()
        for _, call in ipairs({ "publish", "subscribe", "unsubscribe" }) do
            t.ok(not c[call](c, "a", call == "publish" and "x" or 0))
            logged("W/mqtt " .. call .. ": there is no connection")
        end
        c:close()
        t.ok(not c:publish("a", "x"))
        logged("W/mqtt publish: the client is closed")
    end, debug.traceback)
    print = print_before
    t.ok(ok, why)
end)
