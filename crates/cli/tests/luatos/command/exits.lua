print(arg[0]:match("[^/]+$"), arg[1], ...)
if arg[1] == "7" then os.exit(7) end
if arg[1] == "no" then os.exit(false) end
if arg[1] == "reboot" then rtos.reboot() end
