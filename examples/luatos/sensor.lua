-- A sensor as it would be built: readings with QoS 1, each waited for; a will; commands; and whatever happens to the network,
-- it comes back.
--   martlet lua sensor.lua [HOST [PORT]]
PROJECT, VERSION = "sensor", "1.0.0"
local sys = require "sys"
local host, port = ...

local id = mobile.imei()
local base = "sensor/" .. id
local period_ms = 1000
local waiting = {}      -- readings that the server may not have, the oldest first
local WAITING_MAX = 100

local client = mqtt.create(nil, host or "127.0.0.1", tonumber(port) or 1883)
client:auth(id, nil, nil, false)
client:keepalive(60)
client:autoreconn(true, 1000)
client:will(base .. "/state", "offline", 1, 1)

client:on(function(_, event, data, payload)
    if event == "conack" then
        client:subscribe(base .. "/set", 1)
        client:publish(base .. "/state", "online", 1, 1)
        sys.publish("sensor_ready")
    elseif event == "sent" then
        sys.publish("sensor_sent", data)
    elseif event == "recv" then
        local command = json.decode(payload)
        if type(command) == "table" and math.type(command.period) == "integer" then
            period_ms = math.max(100, command.period)
            log.info("sensor", "every " .. period_ms .. " ms")
        end
    elseif event == "disconnect" then
        log.warn("sensor", "offline, " .. #waiting .. " readings wait")
    end
end)

-- Whether the server has it: its acknowledgement came in time.
local function sent(reading)
    local message = client:publish(base .. "/reading", json.encode(reading), 1)
    if not message then return false end
    local end_ms = rtos.tick() + 3000
    while rtos.tick() < end_ms do
        local is_sent, which = sys.waitUntil("sensor_sent", end_ms - rtos.tick())
        if not is_sent then return false end
        if which == message then return true end
    end
    return false
end

-- Measures, whatever the network does.
sys.taskInit(function()
    local n = 0
    while true do
        n = n + 1
        table.insert(waiting, { n = n, celsius = 20 + n % 5 })
        if #waiting > WAITING_MAX then table.remove(waiting, 1) end
        sys.publish("sensor_reading")
        sys.wait(period_ms)
    end
end)

-- Sends, in order; one that may be lost is sent again.
sys.taskInit(function()
    sys.waitUntil("IP_READY", 30000)
    client:connect()
    while true do
        if #waiting == 0 then
            sys.waitUntil("sensor_reading")
        elseif not client:ready() then
            sys.waitUntil("sensor_ready")
        elseif sent(waiting[1]) then
            log.info("sensor", "reading " .. waiting[1].n .. " is there")
            table.remove(waiting, 1)
        end
    end
end)

sys.run()
