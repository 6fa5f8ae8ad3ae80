-- R0.77
local t = require "t"

local lines = {}
local real = print
local function logged(act)
    lines = {}
    print = function(line) lines[#lines + 1] = line end
    act()
    print = real
    return table.concat(lines, "|")
end

t.run(function()
    t.eq(logged(function() log.info("tag", "a", 1, nil, true, 2.5) end), "I/user.tag a 1 nil true 2.5")
    t.eq(logged(function() log.debug("d") log.warn("w") log.error("e") log.fatal("f") end),
        "D/user.d|W/user.w|E/user.e|F/user.f")
    t.eq(logged(function() log.info("bytes", "\0\xff") end), "I/user.bytes \0\xff")
    t.eq(log.getLevel(), log.LOG_DEBUG)
    log.setLevel("WARN")
    t.eq(log.getLevel(), log.LOG_WARN)
    t.eq(logged(function() log.info("i") log.warn("w") end), "W/user.w")
    log.setLevel(log.LOG_ERROR)
    t.eq(logged(function() log.warn("w") log.error("e") end), "E/user.e")
    log.setLevel("SILENT")
    t.eq(logged(function() log.fatal("f") end), "")
    log.setLevel("DEBUG")
    t.eq(log.style(), 0)
    log.style(1)
    t.ok(logged(function() log.info("tag", "x") end):find("^I/logs.lua:%d+ tag x$"), lines[1])
    log.style(2)
    t.ok(logged(function() log.info("tag", "x") end):find("^I/user.tag logs.lua:%d+ x$"), lines[1])
    log.style(0)
end)
