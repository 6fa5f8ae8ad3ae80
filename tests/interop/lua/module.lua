-- The module in a Lua of somebody else: what it brings, what it leaves alone, and a message there and back.
local before = { json = json, crypto = crypto, io_read_file = io.readFile, split = string.split, exit = os.exit }
local mqtt = require "mqtt"
local sys, log = require "sys", require "log"
local port = tonumber(arg[1])

assert(_VERSION == "Lua 5.3" and debug.sethook, "the whole Lua is still there")
assert(json == before.json and crypto == before.crypto and io.readFile == before.io_read_file)
assert(string.split == before.split and os.exit == before.exit)

local client = assert(mqtt.create(nil, "127.0.0.1", port))
assert(client:auth("lua-module"))
local seen = {}
client:on(function(who, event, topic, payload, metas)
    assert(who == client)
    seen[#seen + 1] = event
    if event == "conack" then client:subscribe("lua/#", 1) end
    if event == "suback" then assert(client:publish("lua/module", "there and back", 1) > 0) end
    if event == "recv" then
        assert(topic == "lua/module" and payload == "there and back" and metas.qos == 1)
        sys.publish("came", payload)
    end
end)
assert(client:connect() == true)

-- With a loop of the program's own.
local came
sys.subscribe("came", function(payload) came = payload end)
local end_time = os.time() + 20
while not came and os.time() < end_time do mqtt.poll(50) end
assert(came == "there and back", table.concat(seen, " "))

-- And inside of `sys.run`, which an error ends with its traceback.
sys.taskInit(function()
    sys.wait(10)
    log.info("module", "goes on")
    error("on purpose")
end)
local ok, said = pcall(sys.run)
assert(not ok and said:find("module.lua:%d+: on purpose\nstack traceback:"), said)

local _, why = pcall(mqtt.create, nil)
assert(why:find("bad argument #2 to 'create' %(string expected, got no value%)"), why)
client:close()
mqtt.poll(100)
print("good")
