-- The scheduler of tasks: coroutines that wait for time and for messages. All of it runs inside of `sys.run`.

local rtos, log, coroutine, table = rtos, log, coroutine, table
local traceback = debug.traceback
local pack, unpack = table.pack, table.unpack

local sys = {}

-- What follows an error in a task: the program ends, or `rtos.reboot`.
_G.COROUTINE_ERROR_ROLL_BACK = true
_G.COROUTINE_ERROR_RESTART = true

-- Numbers of timers: those of waiting tasks lie below those of functions.
local TASK_ID_MAX = 0x1FFFFF
local TIMER_ID_MAX = 0x7FFFFF

local next_task_id, next_timer_id = 0, TASK_ID_MAX
local timers = {}   -- number -> { co = } of a task that waits, { call =, args = } of a function
local waits = {}    -- task -> number of the timer that it waits for

local function free_id(id, first, last)
    repeat
        id = id < last and id + 1 or first
    until timers[id] == nil
    return id
end

-- Tasks ------------------------------------------------------------------------------------------------------------

local function failed(said)
    log.error("sys", said)
    if _G.COROUTINE_ERROR_ROLL_BACK then
        sys.timerStart(error, 500, said, 0)
    elseif _G.COROUTINE_ERROR_RESTART then
        rtos.reboot()
    end
end

local function handler(said)
    return traceback(type(said) == "string" and said or tostring(said), 2)
end

-- Tells of an error, and hands on what the task has yielded.
local function resumed(co, ok, ...)
    if not ok then failed(tostring((...))) end
    return ok, ...
end

function sys.coresume(co, ...)
    return resumed(co, coroutine.resume(co, ...))
end

function sys.check_task()
    local co, is_main = coroutine.running()
    if is_main then
        error("attempt to wait outside of a task: start one by sys.taskInit", 3)
    end
    return co
end

function sys.taskInit(f, ...)
    if type(f) ~= "function" then
        error("bad argument #1 to 'taskInit' (function expected, got " .. type(f) .. ")", 2)
    end
    -- The traceback is that of the place of the error, so it is taken there.
    local co = coroutine.create(function(...)
        local ok, said = xpcall(f, handler, ...)
        if not ok then error(said, 0) end
    end)
    sys.coresume(co, ...)
    return co
end

-- Nothing after the time; what another has resumed it with before.
local function waited(co, id, ...)
    if select("#", ...) > 0 then
        rtos.timer_stop(id)
        timers[id] = nil
        if waits[co] == id then waits[co] = nil end
    end
    return ...
end

-- An error at the place where a script has called the function that calls this.
local function bad(n, name, why)
    error("bad argument #" .. n .. " to '" .. name .. "' (" .. why .. ")", 4)
end

local function whole(ms, n, name)
    local number = tonumber(ms)
    if not number then bad(n, name, "number expected, got " .. type(ms)) end
    return math.tointeger(number) or bad(n, name, "number has no integer representation")
end

local function wait(co, ms)
    next_task_id = free_id(next_task_id, 1, TASK_ID_MAX - 1)
    local id = next_task_id
    if rtos.timer_start(id, ms) ~= 1 then return end
    timers[id], waits[co] = { co = co }, id
    return waited(co, id, coroutine.yield())
end

function sys.wait(ms)
    local co = sys.check_task()
    return wait(co, whole(ms, 1, "wait"))
end

-- Messages ---------------------------------------------------------------------------------------------------------

local subscribers = {}              -- name -> list of functions and tasks, in their order
local queue, first, last = {}, 1, 0

local function each(id, act, who)
    if type(id) ~= "table" then return act(id, who) end
    for _, one in ipairs(id) do act(one, who) end
end

local function add(id, who)
    local list = subscribers[id] or {}
    subscribers[id] = list
    for _, other in ipairs(list) do
        if other == who then return end
    end
    list[#list + 1] = who
end

local function remove(id, who)
    local list = subscribers[id]
    if not list then return end
    for i, other in ipairs(list) do
        if other == who then
            table.remove(list, i)
            break
        end
    end
    if #list == 0 then subscribers[id] = nil end
end

function sys.subscribe(id, callback)
    each(id, add, callback)
end

function sys.unsubscribe(id, callback)
    each(id, remove, callback)
end

function sys.publish(...)
    last = last + 1
    queue[last] = pack(...)
end

local function dispatch()
    while first <= last do
        local message = queue[first]
        queue[first] = nil
        first = first + 1
        local id = message[1]
        -- Those who subscribe meanwhile wait for the next.
        local list = subscribers[id]
        for _, who in ipairs(list and table.move(list, 1, #list, 1, {}) or {}) do
            if type(who) == "function" then
                who(unpack(message, 2, message.n))
            elseif coroutine.status(who) == "suspended" then
                sys.coresume(who, unpack(message, 1, message.n))
            end
        end
    end
    first, last = 1, 0
end

-- Waits for a message of that name; what came, its name first.
local function wait_message(id, ms)
    local co = sys.check_task()
    add(id, co)
    local message = ms and pack(wait(co, ms)) or pack(coroutine.yield())
    remove(id, co)
    return message
end

function sys.waitUntil(id, ms)
    ms = ms and whole(ms, 2, "waitUntil")
    local message = wait_message(id, ms)
    return message[1] ~= nil, unpack(message, 2, message.n)
end

function sys.waitUntilMsg(id)
    local message = wait_message(id)
    return unpack(message, 2, message.n)
end

function sys.waitUntilExt(id, ms)
    ms = ms and whole(ms, 2, "waitUntilExt")
    local message = wait_message(id, ms)
    if message[1] == nil then return false end
    return unpack(message, 1, message.n)
end

-- Timers -----------------------------------------------------------------------------------------------------------

local function same(args, ...)
    local n = select("#", ...)
    if args.n ~= n then return false end
    for i = 1, n do
        if args[i] ~= (select(i, ...)) then return false end
    end
    return true
end

local function stop(id)
    rtos.timer_stop(id)
    timers[id] = nil
end

-- The timer of that function with those arguments.
local function find(f, ...)
    for id, timer in pairs(timers) do
        if timer.call == f and same(timer.args, ...) then return id end
    end
end

function sys.timerStop(which, ...)
    local id = which
    if type(which) ~= "number" then id = find(which, ...) end
    if id then stop(id) end
end

function sys.timerStopAll(f)
    for id, timer in pairs(timers) do
        if timer.call == f then stop(id) end
    end
end

local function callable(f, name)
    if type(f) ~= "function" and type(f) ~= "table" and f ~= nil then
        bad(1, name, "function expected, got " .. type(f))
    end
end

local function start(name, f, ms, repeats, ...)
    callable(f, name)
    ms, repeats = whole(ms, 2, name), whole(repeats, 3, name)
    if f ~= nil then sys.timerStop(f, ...) end
    next_timer_id = free_id(next_timer_id, TASK_ID_MAX + 1, TIMER_ID_MAX)
    local id = next_timer_id
    -- As on a module: a timer of nothing has a number, and nothing comes of it.
    if f == nil then return id end
    if rtos.timer_start(id, ms, repeats) ~= 1 then return end
    timers[id] = { call = f, args = pack(...) }
    return id
end

function sys.timerAdvStart(f, ms, repeats, ...)
    return start("timerAdvStart", f, ms, repeats or 0, ...)
end

function sys.timerStart(f, ms, ...)
    return start("timerStart", f, ms, 0, ...)
end

function sys.timerLoopStart(f, ms, ...)
    return start("timerLoopStart", f, ms, -1, ...)
end

function sys.timerIsActive(which, ...)
    local id = which
    if type(which) ~= "number" then id = find(which, ...) end
    if id and timers[id] then return true end
end

local function timer_due(id, repeats)
    local timer = timers[id]
    if not timer then return end
    if timer.co then
        timers[id] = nil
        if waits[timer.co] == id then
            waits[timer.co] = nil
            sys.coresume(timer.co)
        end
        return
    end
    if repeats == 0 then timers[id] = nil end
    timer.call(unpack(timer.args, 1, timer.args.n))
end

-- Tasks with a name ------------------------------------------------------------------------------------------------

local named = {}    -- name -> { messages =, other =, waiter = }

function sys.taskInitEx(f, name, other, ...)
    named[name] = { messages = {}, other = other }
    return sys.taskInit(f, ...)
end

function sys.taskDel(name)
    named[name] = nil
end

function sys.cleanMsg(name)
    local task = named[name]
    if not task then return false end
    task.messages = {}
    return true
end

-- Wakes a task that waits for its messages.
local function wake(task)
    local co = task.waiter
    if co and coroutine.status(co) == "suspended" then
        sys.coresume(co, true)
    end
end

-- A name that no script has; tables are lists of names.
local function WAKE() end

function sys.sendMsg(name, p1, p2, p3, p4)
    local task = named[name]
    if not task then return false end
    table.insert(task.messages, { p1, p2, p3, p4 })
    sys.publish(WAKE, task)
    return true
end

function sys.waitMsg(name, target, ms)
    ms = ms and whole(ms, 3, "waitMsg")
    local co = sys.check_task()
    local task = named[name]
    if not task then return false end
    local end_ms = ms and ms >= 0 and rtos.tick() + ms
    while true do
        while #task.messages > 0 do
            local message = table.remove(task.messages, 1)
            if target == nil or target == false or message[1] == target then return message end
            if task.other then task.other(message) end
        end
        task.waiter = co
        local woken
        if end_ms then
            local left = end_ms - rtos.tick()
            woken = left > 0 and wait(co, left)
        else
            woken = coroutine.yield()
        end
        task.waiter = nil
        if not woken then return nil end
    end
end

sys.subscribe(WAKE, wake)

-- The loop ---------------------------------------------------------------------------------------------------------

local function step(ms)
    dispatch()
    local kind, id, repeats = rtos.receive(ms)
    if kind == rtos.MSG_TIMER then timer_due(id, repeats) end
end

function sys.safeRun()
    step(rtos.INF_TIMEOUT)
end

function sys.run()
    while true do
        step(rtos.INF_TIMEOUT)
    end
end

-- For programs with a loop of their own: handles what comes within that time, and what is there already.
function mqtt.poll(ms)
    local end_ms = rtos.tick() + (ms or 0)
    repeat
        local left = end_ms - rtos.tick()
        step(left > 0 and left or 0)
    until end_ms <= rtos.tick()
    dispatch()
end

_G.sys_pub = sys.publish
_G.sys_send = sys.sendMsg
package.preload.sysplus = function() return sys end

return sys
