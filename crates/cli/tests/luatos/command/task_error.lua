sys.taskInit(function()
    sys.wait(10)
    local text = "x" .. nil
end)
sys.run()
