-- How many messages a second come through `recv`, and what memory they take.
-- The limits of the queue are off: a publisher that is faster than the script would have messages dropped, and this would
-- wait for them for ever.
--   martlet broker -p 1883 --durability none --set max_queued_messages=0 --set max_queued_bytes=0 &
--   martlet lua benches/luatos/recv.lua 1883 1000000 1 &
--   seq 1000000 | martlet pub -p 1883 -l -t bench -q 1
local port, total, qos = math.tointeger((...)), math.tointeger((select(2, ...))), math.tointeger((select(3, ...)))

local client = mqtt.create(nil, "127.0.0.1", port)
client:auth("bench-recv")

-- Resident pages, as Linux counts them.
local function kibibytes()
    return tonumber(io.readFile("/proc/self/statm"):match("%d+ (%d+)")) * 4
end

local came, began = 0, nil
client:on(function(_, event)
    if event == "conack" then client:subscribe("bench", qos) end
    if event == "suback" then print("ready") end
    if event ~= "recv" then return end
    came = came + 1
    began = began or rtos.tick()
    if came % (total // 10) == 0 then
        print(came, rtos.tick() - began .. " ms", kibibytes() .. " KiB", os.clock() .. " s of this process")
    end
    if came == total then os.exit(0) end
end)
client:connect()
sys.run()
