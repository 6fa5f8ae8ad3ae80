-- R0.10
local t = require "t"

-- What a task and its timers do, in the order in which it happens, with the time.
local said = {}
local function say(...)
    local words = table.pack(rtos.tick(), ...)
    for i = 1, words.n do words[i] = tostring(words[i]) end
    said[#said + 1] = table.concat(words, " ")
end

local function expect(...)
    local wanted = { ... }
    for i = 1, math.max(#said, #wanted) do t.eq(said[i], wanted[i], "line " .. i) end
    said = {}
end

t.run(function()
    local start = rtos.tick()
    t.eq(start, 0)
    -- A task runs at once, up to its first wait.
    sys.taskInit(function(a, b)
        say("begins", a, b)
        t.eq(sys.wait(10), nil)
        say("goes on")
    end, "x", nil)
    say("behind it")
    sys.wait(20)
    expect("0 begins x nil", "0 behind it", "10 goes on")
    -- Messages: functions get what is behind the name, tasks wait for it, those who come meanwhile wait for the next.
    local function once(...)
        say("function", ...)
        sys.unsubscribe("news", once)
        sys.subscribe("news", function() say("late") end)
    end
    sys.subscribe("news", once)
    sys.taskInit(function() say("task", sys.waitUntil("news")) end)
    sys.publish("news", 1, nil, "three")
    say("published")
    sys.wait(1)
    expect("20 published", "20 function 1 nil three", "20 task true 1 nil three")
    sys.publish("news")
    sys.wait(1)
    expect("21 late")
    t.eq(sys.waitUntil("never", 30), false)
    t.eq(rtos.tick(), 52)
    -- Several names at once.
    local names = {}
    local function note(name) return function() names[#names + 1] = name end end
    local both = note("both")
    sys.subscribe({ "one", "two" }, both)
    sys.publish("one")
    sys.publish("two")
    sys.wait(1)
    t.eq(#names, 2)
    sys.unsubscribe({ "one", "two" }, both)
    sys.publish("one")
    sys.wait(1)
    t.eq(#names, 2)
    -- Timers.
    local function tick(word) say("timer", word) end
    local id = sys.timerStart(tick, 10, "a")
    t.eq(math.type(id), "integer")
    t.eq(sys.timerIsActive(id), true)
    t.eq(sys.timerIsActive(tick, "a"), true)
    t.eq(sys.timerIsActive(tick, "b"), nil)
    sys.wait(5)
    -- The same function with the same arguments begins anew; with others it is another timer.
    sys.timerStart(tick, 10, "a")
    sys.timerStart(tick, 3, "b")
    sys.wait(20)
    expect("62 timer b", "69 timer a")
    t.eq(sys.timerIsActive(tick, "a"), nil)
    local loop = sys.timerLoopStart(tick, 10, "loop")
    sys.wait(35)
    sys.timerStop(loop)
    sys.wait(20)
    expect("89 timer loop", "99 timer loop", "109 timer loop")
    sys.timerStart(tick, 5, 1)
    sys.timerStart(tick, 5, 2)
    sys.timerStop(tick, 1)
    sys.wait(10)
    expect("139 timer 2")
    sys.timerStart(tick, 5, 1)
    sys.timerStart(tick, 5, 2)
    sys.timerStopAll(tick)
    sys.wait(10)
    expect()
    -- A timer of nothing does nothing; what is wrong with an argument is told at the line of the script.
    t.eq(math.type(sys.timerStart(nil, 10)), "integer")
    t.eq(math.type(sys.timerLoopStart(nil, 10)), "integer")
    sys.wait(10)
    local function refused(wanted, f, ...)
        local args = table.pack(...)
        local ok, why = pcall(function() f(table.unpack(args, 1, args.n)) end)
        t.ok(not ok and why:find("tasks.lua:%d+: bad argument #" .. wanted), why)
    end
    refused("1 to 'wait' %(number expected, got string%)", sys.wait, "abc")
    refused("1 to 'wait' %(number expected, got nil%)", sys.wait)
    refused("1 to 'wait' %(number has no integer representation%)", sys.wait, 1.5)
    refused("2 to 'waitUntil' ", sys.waitUntil, "news", {})
    refused("2 to 'waitUntilExt' ", sys.waitUntilExt, "news", {})
    refused("3 to 'waitMsg' ", sys.waitMsg, "worker", nil, "abc")
    refused("1 to 'timerStart' %(function expected, got string%)", sys.timerStart, "abc", 10)
    refused("2 to 'timerStart' %(number expected, got nil%)", sys.timerStart, tick)
    refused("2 to 'timerLoopStart' ", sys.timerLoopStart, tick, "abc")
    refused("3 to 'timerAdvStart' ", sys.timerAdvStart, tick, 10, "abc")
    -- Tasks with a name.
    local others = {}
    sys.taskInitEx(function()
        local message = sys.waitMsg("worker", "job", 100)
        say("job", message[1], message[2], message[3], message[4])
        say("any", sys.waitMsg("worker", nil)[1])
        say("none", sys.waitMsg("worker", "job", 10))
    end, "worker", function(message) others[#others + 1] = message[1] end)
    t.eq(sys.sendMsg("worker", "other", 1), true)
    t.eq(sys.sendMsg("worker", "job", 2, 3, 4), true)
    sys.wait(1)
    t.eq(others[1], "other")
    sys.sendMsg("worker", "whatever")
    sys.wait(20)
    expect("164 job job 2 3 4", "165 any whatever", "175 none nil")
    t.eq(sys.cleanMsg("worker"), true)
    sys.taskDel("worker")
    t.eq(sys.sendMsg("worker", "x"), false)
    t.eq(sys.waitMsg("nobody", nil, 1), false)
    t.eq(require("sysplus"), sys)
    t.eq(sys_pub, sys.publish)
    -- Outside of a task there is nothing to wait with.
    local co = coroutine.create(function() sys.wait(1) end)
    t.eq(coroutine.resume(co), true)
    t.eq(sys.waitUntilExt("nobody", 1), false)
    -- The network is there, for those who wait for it.
    t.eq(socket.adapter(socket.dft()), true)
end)
