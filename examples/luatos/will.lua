-- A will is what the server says for a device that is gone without a word.
--   martlet lua will.lua [HOST [PORT]]
PROJECT, VERSION = "will", "1.0.0"
local sys = require "sys"
local host, port = ...

local function client(name)
    local made = mqtt.create(nil, host or "127.0.0.1", tonumber(port) or 1883)
    made:auth(name, nil, nil, false)
    made:on(function(_, event, data, payload)
        if event == "recv" then log.info("will", name, data, payload) end
        sys.publish(name .. event)
    end)
    return made
end

sys.taskInit(function()
    local device = client("will-device")
    device:will("will/device", "gone", 1, 0)
    local watcher = client("will-watcher")
    watcher:autoreconn(true, 1000)
    watcher:connect()
    sys.waitUntil("will-watcherconack")
    watcher:subscribe("will/#", 1)
    sys.waitUntil("will-watchersuback")
    device:connect()
    sys.waitUntil("will-deviceconack")
    -- As if the network were gone: no DISCONNECT. The watcher connects again, and its session has kept the will.
    socket.close_all(socket.dft())
    sys.waitUntil("will-watcherrecv", 10000)
    log.info("will", "told")
end)

sys.run()
