-- An error in a task is told, and the rest goes on where that is asked for.
local t = require "t"

COROUTINE_ERROR_ROLL_BACK = false
COROUTINE_ERROR_RESTART = false
local lines = {}
local print_before = print
function print(line) lines[#lines + 1] = line end

t.run(function()
    sys.taskInit(function() error("not today") end)
    sys.wait(1000)
    print = print_before
    t.ok(lines[1]:find("^E/user.sys .-policy.lua:%d+: not today\nstack traceback:\n"), lines[1])
    t.ok(lines[1]:find("policy.lua:%d+: in function <"), lines[1])
    t.eq(#lines, 1)
end)
