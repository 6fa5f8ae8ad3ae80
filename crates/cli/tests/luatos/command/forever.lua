local what = ...
if what == "busy" then while true do end end
if what == "busy task" then sys.taskInit(function() while true do end end) end
sys.taskInit(function() while true do sys.wait(1000) end end)
sys.run()
