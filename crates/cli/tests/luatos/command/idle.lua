sys.taskInit(function() sys.wait(3600000) print("an hour later") end)
sys.run()
