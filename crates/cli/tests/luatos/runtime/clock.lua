-- R0.4 R0.38 R0.49 R0.59 R0.64 R0.65
-- In a time that jumps: pings and attempts to connect again, to the millisecond.
local t = require "t"

local function pongs(seconds)
    local c = t.client("pings")
    c:keepalive(seconds)
    c:connect()
    t.event(c, "conack")
    local begun, times = rtos.tick(), {}
    for n = 1, 3 do
        t.event(c, "pong", 2000000)
        times[n] = rtos.tick() - begun
    end
    c:close()
    return table.concat(times, " ")
end

t.run(function()
    t.eq(pongs(15), "11250 22500 33750")
    t.eq(pongs(1), "11250 22500 33750")
    t.eq(pongs(240), "180000 360000 540000")
    t.eq(pongs(nil), "180000 360000 540000")
    t.eq(pongs(10000), "450000 900000 1350000")
    local function again(...)
        local c = t.client("again")
        c:autoreconn(...)
        c:connect()
        t.event(c, "conack")
        local times = {}
        for n = 1, 3 do
            local cut = rtos.tick()
            if n == 2 then c:disconnect() else socket.close_all(socket.dft()) end
            t.event(c, "disconnect")
            t.event(c, "conack", 100000)
            times[n] = rtos.tick() - cut
        end
        -- Only a boolean switches it.
        c:autoreconn("off")
        socket.close_all()
        t.event(c, "disconnect")
        t.event(c, "conack", 100000)
        c:autoreconn(false)
        socket.close_all()
        t.event(c, "disconnect")
        t.event(c, "close")
        t.quiet(c, 100000)
        c:close()
        return table.concat(times, " ")
    end
    t.eq(again(true), "3000 3000 3000")
    t.eq(again(true, 500), "1000 1000 1000")
    t.eq(again(true, 12345), "12345 12345 12345")
end)
