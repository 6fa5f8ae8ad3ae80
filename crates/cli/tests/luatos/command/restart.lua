COROUTINE_ERROR_ROLL_BACK = false
sys.taskInit(function()
    sys.wait(10)
    error("again, please")
end)
sys.run()
